import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { migrate } from '#libs/runtime';
import { DataSource } from 'typeorm';
import { migrations } from '../libs/runtime/src/migrations/index.js';
import { freshDatabase } from './support/world.js';

/** The last migration of the version before mounts could be moved and had identities in other accounts. */
const before = 'Uses1764950000000';

describe('taking the schema back to the version before', () => {
  let database: Awaited<ReturnType<typeof freshDatabase>>;
  let source: DataSource;

  beforeEach(async () => {
    database = await freshDatabase();
    await migrate({ url: database.url });
    source = await new DataSource({ type: 'postgres', url: database.url, migrations }).initialize();
    await source.query(
      `insert into mounts (id, path, type, accessor, description) values
         ('00000000-0000-0000-0000-000000000001', 'aws/', 'aws', 'aws_1', ''),
         ('00000000-0000-0000-0000-000000000002', 'down/', 'aws', 'aws_2', '');
       insert into tokens (id, hash, accessor, path, policies, display_name)
         values ('00000000-0000-0000-0000-00000000000a', '\\x00', 'a', 'auth/token/create', '{}', 'x')`,
    );
  });
  afterEach(async () => {
    await source.destroy();
    await database.drop();
  });

  const lend = (id: string, type: string, rootVersion = '0') =>
    source.query(
      `insert into leases (id, command_id, token_id, mount_id, mount_version, role_name, role_version, root_version, account_id,
         request_id, user_name, due_at, expires_at, credential_type, state, renewable, issued_at, accepted_at)
       values ($1, gen_random_uuid(), '00000000-0000-0000-0000-00000000000a', '00000000-0000-0000-0000-000000000001', 1, 'deploy', 1,
         $3::bigint, '111111111111', 'r', case $2 when 'iam_user' then $1 end, now() + interval '1 hour',
         now() + interval '1 hour', $2, 'active', false, now(), now())`,
      [id, type, rootVersion],
    );
  async function goBack(): Promise<void> {
    for (;;) {
      const [last] = (await source.query('select name from migrations order by id desc limit 1')) as { name: string }[];
      if (last!.name === before) return;
      await source.undoLastMigration();
    }
  }
  const leases = async () =>
    ((await source.query('select id from leases order by id')) as { id: string }[]).map(({ id }) => id);

  it('leaves mounts that were being moved where they were, to serve, and those that were taken down as they were', async () => {
    await source.query(
      `update mounts set tainted_at = now();
       insert into mount_moves (id, mount_id, from_path, to_path)
         values (gen_random_uuid(), '00000000-0000-0000-0000-000000000001', 'aws/', 'moved/')`,
    );
    await goBack();
    const mounts = `select path, tainted_at is not null as tainted from mounts order by path`;
    const found = [
      { path: 'aws/', tainted: false },
      { path: 'down/', tainted: true },
    ];
    expect(await source.query(mounts)).toEqual(found);
    await source.runMigrations();
    expect(await source.query(mounts)).toEqual(found);
  });

  it('keeps the leases that the version before knows, and goes forward again with them', async () => {
    await lend('user', 'iam_user');
    await lend('session', 'session_token');
    await goBack();
    expect(await leases()).toEqual(['user']);
    await source.runMigrations();
    await lend('another', 'session_token');
    expect(await leases()).toEqual(['another', 'user']);
  });

  it('is refused while there are users of pools, which the version before would take for somebody’s', async () => {
    await lend('user', 'iam_user');
    await lend('pooled', 'iam_user');
    await source.query(
      `update leases set state = 'pooled', token_id = null, accepted_at = null, access_key_id = 'AKIA', pooled_at = now()
       where id = 'pooled'`,
    );
    await expect(goBack()).rejects.toThrow(/users of pools in AWS: write pool_size=0 to every role/);
    expect(await leases()).toEqual(['pooled', 'user']);
    await source.query(`update leases set state = 'ended', ended_at = now(), due_at = null where id = 'pooled'`);
    await goBack();
    expect(await leases()).toEqual(['user']);
    await source.runMigrations();
  });

  it('is refused while there are users whose only identity it would forget', async () => {
    await source.query(
      `insert into account_identities (mount_id, account_id, access_key, role_arn, external_id)
         values ('00000000-0000-0000-0000-000000000001', '111111111111', 'AKIA', '', '')`,
    );
    const [own] = (await source.query('select version from account_identities')) as { version: string }[];
    await lend('user', 'iam_user', own!.version);
    await expect(goBack()).rejects.toThrow(/only the credentials of config\/accounts .*revoke their leases first/);
    expect(await source.query('select account_id from account_identities')).toHaveLength(1);
    await source.query(`update leases set state = 'ended', ended_at = now(), due_at = null`);
    await goBack();
  });
});
