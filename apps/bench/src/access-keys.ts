import { join } from 'node:path';
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
    const system = await OwnProcess.start(code, env, /^Leasehold serves at (\S+) /m);
    undo.push(() => system.end());
    const client = new Client(system.url, token);
    undo.push(async () => client.close());
    await client.call('POST', 'sys/mounts/aws', { type: 'aws' });
    const began = performance.now();
    await plant(databaseUrl, leases);
    say(`${leases} leases planted in ${((performance.now() - began) / 1_000).toFixed(0)} s.`);

    const operation = async () => {
      const accessKey = keyOf(1 + Math.floor(Math.random() * leases));
      const text = await client.call('PUT', 'sys/leases/lookup-access-key', { access_key: accessKey });
      if (!text.includes('"role":"deploy"')) throw new Error('The answer names another role.');
      return true;
    };
    for (const callers of [1, 8]) {
      const load: Load = { operation, callers, warmUpMs: 2_000, measureMs: 10_000 };
      const { samples, seconds, completed } = await apply(load, () => ({}), failures, new AbortController().signal);
      const figures = [50, 90, 99, 99.9].map((percent) => `p${percent} ${percentile(samples, percent).toFixed(2)} ms`);
      say(`callers ${callers}: ${(completed / seconds).toFixed(0)}/s, ${figures.join(', ')}, of ${samples.length}`);
    }
  } finally {
    for (const step of undo.toReversed()) await step().catch((error: unknown) => failures.add(error));
  }
  if (failures.first !== undefined) say(`The first failure: ${failures.first}`);
  return failures.first === undefined ? 0 : 1;
}

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
