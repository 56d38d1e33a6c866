import { Redis } from 'ioredis';
import pg from 'pg';
import { often } from './load.js';
import { steadyMemoryOf } from './memory.js';
import type { Mounted } from './mounted.js';
import { percentile } from './percentile.js';
import { oursAmong } from './phases.js';
import type { Report } from './report.js';
import { Rig, type Run } from './rig.js';
import { type Services, startServices } from './systems.js';
import { formatNumber } from './table.js';

const sizes = [10_000, 100_000, 1_000_000];

/** Credentials that are asked for among so many leases, by one caller and by sixteen. */
const work = { alone: 400, together: 1_600 };

/** Starts of the services at each size; the least of each figure is what is left of chance, such as when garbage was collected last. */
const starts = 2;

/** Growth between the smallest and the largest number that is still none. */
const most = 0.1;

/**
 * Leases from the n-th to the m-th; every other one is an IAM user's. They end evenly over 32 days, the longest time that Vault
 * grants, so some are due while this is measured, and their alarms and ends are the product's own work.
 */
const seed = `
  insert into leases (id, command_id, state, credential_type, mount_id, mount_version, role_name, role_version, root_version,
    account_id, token_id, request_id, user_name, access_key_id, renewable, created_at, issued_at, accepted_at, expires_at, due_at)
  select m.path || 'creds/user/' || md5(n::text), gen_random_uuid(), 'active', type, m.id, 1,
    'user', 1, 1, $3, t.id, gen_random_uuid()::text, case when type = 'iam_user' then 'vault-seed-' || md5(n::text) end,
    case when type = 'iam_user' then 'AKIA' || lpad(n::text, 16, '0') end, type = 'iam_user', made, made, made, ends, ends
  from generate_series($1::int, $2::int) n,
    (select id, path from mounts where path = $4) m, (select id from tokens limit 1) t,
    lateral (select case when n % 2 = 0 then 'iam_user' else 'assumed_role' end as type) kind,
    lateral (select now() - interval '1 day' as made, now() + interval '32 days' * random() as ends) instants`;

interface Size {
  leases: number;
  /** Until every service serves, seconds. */
  startSeconds: number;
  /** MB, by process. */
  memory: Record<string, number>;
  redisMb: number;
  /** Alarms that are set. */
  alarms: number;
  credsMs: number;
  manyCredsMs: number;
}

/** What grows with the number of leases: nothing should. */
export async function measureMass(run: Run): Promise<Report> {
  return Rig.with(
    run,
    // Those that were seeded are counted as users of one account.
    (say, undo) => startServices({ ownRedis: true, env: { LEASEHOLD_AWS_USERS: '1000000' } }, say, undo),
    async (rig) => {
      const mounted = await rig.mount();
      const database = new pg.Client({ connectionString: rig.system.databaseUrl });
      await database.connect();
      const found: Size[] = [];
      try {
        await rig.bench(mounted).bench.warmUp();
        let seeded = 0;
        for (const leases of sizes) {
          if (run.signal.aborted) break;
          run.say(`Seeding ${leases} leases.`);
          await plant(database, {
            from: seeded + 1,
            to: leases,
            accountId: mounted.account.id,
            mount: `${mounted.path}/`,
          });
          seeded = leases;
          const tries = [];
          while (tries.length < starts) tries.push(await measureAmong(rig, mounted, database, leases));
          found.push(leastOf(tries));
        }
      } finally {
        await clear(database).finally(() => database.end());
      }
      return reportOf(found);
    },
  );
}

async function measureAmong(rig: Rig<Services>, mounted: Mounted, database: pg.Client, leases: number): Promise<Size> {
  const { fleet } = rig.system;
  rig.run.say(`Measuring among ${leases} leases.`);
  await Promise.all(fleet.running().map((service) => service.end()));
  await forgetAlarms(rig.system.redisUrl, database);
  const began = performance.now();
  const kinds = ['gateway', 'issuer', 'revoker'] as const;
  const port = new URL(rig.system.url).port;
  const services = await Promise.all(
    kinds.map((kind) => fleet.start(kind, kind === 'gateway' ? { PORT: port } : {}).serves()),
  );
  const startSeconds = (performance.now() - began) / 1_000;
  const { bench, operations } = rig.bench(mounted);
  // The same work each time, so that what differs is the number of leases.
  await bench.warmUp();
  await bench.emptyStock();
  await rig.aws.setLatency(0);
  // So many, however long it takes: memory follows what a process has done.
  const creds = await bench.measure(often(operations.by.creds, work.alone, 1));
  const many = await bench.measure(often(operations.by.creds, work.together, 16));
  await bench.emptyStock();
  // A scrape counts leases, as an operator's does.
  for (const { operations: door } of services) await (await fetch(`${door}/metrics`)).text();
  const memory = await steadyMemoryOf(
    services.map(({ kind, pid }) => ({ name: kind, pid })),
    15,
  );
  return {
    leases,
    startSeconds,
    memory,
    ...(await redisFigures(rig.system.redisUrl)),
    credsMs: percentile(creds.samples, 50),
    manyCredsMs: percentile(many.samples, 50),
  };
}

/** The least of each figure. */
function leastOf([first, ...others]: Size[]): Size {
  return others.reduce((least, each) => {
    const memory = Object.keys(least.memory).map((name) => [name, Math.min(least.memory[name]!, each.memory[name]!)]);
    return {
      leases: least.leases,
      startSeconds: Math.min(least.startSeconds, each.startSeconds),
      memory: Object.fromEntries(memory) as Size['memory'],
      redisMb: Math.min(least.redisMb, each.redisMb),
      alarms: Math.max(least.alarms, each.alarms),
      credsMs: Math.min(least.credsMs, each.credsMs),
      manyCredsMs: Math.min(least.manyCredsMs, each.manyCredsMs),
    };
  }, first!);
}

/** What the queue remembers of the size before is not of this one: the product arms its alarms anew. */
async function forgetAlarms(url: string, database: pg.Client): Promise<void> {
  const redis = new Redis(url);
  await redis.flushall();
  redis.disconnect();
  await database.query('update leases set armed_for = null where armed_for is not null');
}

async function redisFigures(url: string): Promise<{ redisMb: number; alarms: number }> {
  const redis = new Redis(url);
  try {
    const [, used] = /^used_memory:(\d+)/m.exec(await redis.info('memory')) ?? [];
    const alarms = await redis.eval(
      `local sum = 0 for _, key in ipairs(redis.call('keys', '*:delayed')) do sum = sum + redis.call('zcard', key) end return sum`,
      0,
    );
    return { redisMb: Number(used) / 1e6, alarms: Number(alarms) };
  } finally {
    redis.disconnect();
  }
}

interface Planted {
  from: number;
  to: number;
  accountId: string;
  mount: string;
}

/** Rows alone: no event of them is told; users are counted as the rows' own trigger would have. */
async function plant(database: pg.Client, { from, to, accountId, mount }: Planted): Promise<void> {
  await database.query('set session_replication_role = replica');
  try {
    await database.query(seed, [from, to, accountId, mount]);
    const users = Math.floor(to / 2) - Math.floor((from - 1) / 2);
    await database.query('update aws_accounts set users = users + $2 where id = $1', [accountId, users]);
  } finally {
    await database.query('set session_replication_role = origin');
  }
  await database.query('vacuum analyze leases');
}

/** What was seeded is in no AWS, so nobody has to take it back. */
async function clear(database: pg.Client): Promise<void> {
  await database.query('set session_replication_role = replica');
  await database.query(`delete from leases where user_name like 'vault-seed-%' or user_name is null`);
}

function reportOf(found: Size[]): Report {
  const processes = oursAmong(Object.keys(found[0]?.memory ?? {}));
  const figures: { name: string; unit: string; of: (size: Size) => number }[] = [
    { name: 'start until all serve', unit: 's', of: ({ startSeconds }) => startSeconds },
    ...processes.map((process) => ({
      name: `memory, ${process}`,
      unit: 'MB',
      of: ({ memory }: Size) => memory[process]!,
    })),
    { name: 'memory, Redis', unit: 'MB', of: ({ redisMb }) => redisMb },
    { name: 'creds p50, 1 caller', unit: 'ms', of: ({ credsMs }) => credsMs },
    { name: 'creds p50, 16 callers', unit: 'ms', of: ({ manyCredsMs }) => manyCredsMs },
  ];
  const growth = (of: (size: Size) => number) => of(found.at(-1)!) / of(found[0]!) - 1;
  return {
    sections: [
      {
        title: 'Services among many leases, half of them IAM users',
        head: ['', ...found.map(({ leases }) => leases.toLocaleString('en')), 'growth', 'target'],
        rows: [
          ...figures.map(({ name, unit, of }) => [
            name,
            ...found.map((size) => `${formatNumber(of(size))} ${unit}`),
            `${(100 * growth(of)).toFixed(0)} %`,
            growth(of) < most ? 'met: < 10 %' : 'missed: < 10 %',
          ]),
          ['alarms set', ...found.map(({ alarms }) => `${alarms}`), '', ''],
        ],
        note: 'Leases are rows of SQL that end evenly over 32 days; alarms and revocations of those that are due are the product’s own. Each size has services of its own, that have done the same work, twice; the least of each figure is shown.',
      },
    ],
    plots: [
      {
        name: 'memory',
        title: 'Memory of each process by leases',
        unit: 'MB',
        kind: 'bars',
        categories: found.map(({ leases }) => leases.toLocaleString('en')),
        series: [
          ...processes.map((process) => ({ name: process, values: found.map(({ memory }) => memory[process]) })),
          { name: 'Redis', values: found.map(({ redisMb }) => redisMb) },
        ],
      },
    ],
    data: { sizes: found },
  };
}
