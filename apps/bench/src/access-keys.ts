import { join } from 'node:path';
import { byAccessKeySql } from '#libs/leases';
import pg from 'pg';
import { Client } from './client.js';
import { Failures, type Load, apply } from './load.js';
import { OwnProcess } from './own-process.js';
import { percentile } from './percentile.js';
import { obtainDatabase, temporaryFolder, type Undo } from './servers.js';

const say = (line: string) => void process.stdout.write(`${line}\n`);

/** The n-th access key of the seed. */
const keyOf = (n: number) => `AKIA${String(n).padStart(16, '0')}`;

const seed = `
  insert into leases (id, command_id, state, credential_type, mount_id, mount_version, role_name, role_version, root_version,
    account_id, token_id, request_id, user_name, access_key_id, renewable, created_at, issued_at, accepted_at, expires_at, due_at,
    ended_at, end_reason)
  select 'aws/creds/deploy/' || md5(n::text), gen_random_uuid(), case when n % 10 = 0 then 'active' else 'ended' end, 'iam_user',
    m.id, 1, 'deploy', 1, 1, '000000000000', t.id, gen_random_uuid()::text, 'vault-' || md5(n::text),
    'AKIA' || lpad(n::text, 16, '0'), true, at, at, at, at + interval '100 days',
    case when n % 10 = 0 then at + interval '100 days' end, case when n % 10 > 0 then at + interval '1 hour' end,
    case when n % 10 > 0 then 'revoked' end
  from generate_series(1, $1::int) n, (select id from mounts limit 1) m, (select id from tokens limit 1) t,
    lateral (select now() - n * interval '5 seconds' as at) instant`;

/**
 * How long it takes to find a lease by its access key id among so many, over HTTP on a system of this run's own; nine in ten of
 * them have ended.
 */
export async function main([count = '1000000']: string[]): Promise<number> {
  const leases = Number(count);
  if (!Number.isSafeInteger(leases) || leases < 1) {
    say(`Not started: ${count} is not a number of leases.`);
    return 1;
  }
  const undo: Undo = [];
  const failures = new Failures();
  try {
    const folder = await temporaryFolder(undo);
    const databaseUrl = await obtainDatabase(folder, say, undo);
    const token = 'bench-access-keys';
    const env = {
      PORT: '0',
      DATABASE_URL: databaseUrl,
      LEASEHOLD_DATA_DIR: join(folder, 'data'),
      LEASEHOLD_ROOT_TOKEN: token,
      AWS_EC2_METADATA_DISABLED: 'true',
    };
    const code = "const { main } = await import('./dist/apps/standalone/src/main.js'); await main(['--aws']);";
    const system = await OwnProcess.start(code, env, /^Leasehold serves at (?<url>\S+) /m);
    undo.push(() => system.end());
    const client = new Client(system.url, token);
    undo.push(async () => client.close());
    await client.call('POST', 'sys/mounts/aws', { type: 'aws' });
    const began = performance.now();
    await plant(databaseUrl, leases);
    say(`${leases} leases planted in ${((performance.now() - began) / 1_000).toFixed(0)} s.`);

    const anyKey = () => keyOf(1 + Math.floor(Math.random() * leases));
    const byKey = async () => {
      const text = await client.call('PUT', 'sys/leases/lookup-access-key', { access_key: anyKey() });
      if (!text.includes('"role":"deploy"')) throw new Error('The answer names another role.');
      return true;
    };
    // What any request costs on this machine at this moment.
    const ownToken = async () => (await client.call('GET', 'auth/token/lookup-self')) !== '';
    for (const [name, operation, callers] of [
      ['lookup-self', ownToken, 1],
      ['lookup-access-key', byKey, 1],
      ['lookup-access-key', byKey, 8],
    ] as const) {
      const load: Load = { operation, callers, warmUpMs: 1_000, measureMs: 5_000 };
      const { samples, seconds, completed } = await apply(load, () => ({}), failures, new AbortController().signal);
      say(`${name}, callers ${callers}: ${(completed / seconds).toFixed(0)}/s, ${told(samples)}`);
    }
    say(`in PostgreSQL alone: ${told(await inDatabase(databaseUrl, anyKey))}`);
  } finally {
    for (const step of undo.toReversed()) await step().catch((error: unknown) => failures.add(error));
  }
  if (failures.first !== undefined) say(`The first failure: ${failures.first}`);
  return failures.first === undefined ? 0 : 1;
}

const told = (samples: ArrayLike<number>) =>
  `${[50, 90, 99, 99.9].map((percent) => `p${percent} ${percentile(samples, percent).toFixed(2)} ms`).join(', ')}, of ${samples.length}`;

/** What PostgreSQL says that it took to plan and execute the statement, milliseconds, ascending. */
async function inDatabase(databaseUrl: string, anyKey: () => string): Promise<Float64Array> {
  const database = new pg.Client({ connectionString: databaseUrl });
  await database.connect();
  const samples: number[] = [];
  try {
    while (samples.length < 2_000) {
      const { rows } = await database.query<{ 'QUERY PLAN': Planned[] }>(
        `explain (analyze, timing off, format json) ${byAccessKeySql.replace('$1', `'${anyKey()}'`)}`,
      );
      const [planned] = rows[0]!['QUERY PLAN'];
      samples.push(planned!['Planning Time'] + planned!['Execution Time']);
    }
  } finally {
    await database.end();
  }
  return Float64Array.from(samples).sort();
}

type Planned = Record<'Planning Time' | 'Execution Time', number>;

/** Rows alone: no event of them is told and no user counted. */
async function plant(databaseUrl: string, leases: number): Promise<void> {
  const database = new pg.Client({ connectionString: databaseUrl });
  await database.connect();
  try {
    await database.query('set session_replication_role = replica');
    await database.query(seed, [leases]);
    await database.query('vacuum analyze leases');
  } finally {
    await database.end();
  }
}
