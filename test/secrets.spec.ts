import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { seedFederationPolicy } from '../apps/simulator/src/index.js';
import { type LentKeys, World } from './support/world.js';

/** As secret as what it opens. */
const idempotencyKey = 'an-idempotency-key-that-nobody-reads';

const policy = JSON.stringify({
  Version: '2012-10-17',
  Statement: { Effect: 'Allow', Action: 'ec2:*', Resource: '*' },
});

/** The forms in which a secret might hide. */
const forms = (secret: string) => [
  secret,
  Buffer.from(secret).toString('base64').replace(/=+$/, ''),
  Buffer.from(secret).toString('base64url'),
  Buffer.from(secret).toString('hex'),
  encodeURIComponent(secret),
];

describe('a secret', () => {
  let world: World;
  const lent: LentKeys[] = [];
  /** Tokens and secret ids that were made. */
  const given: string[] = [];

  beforeAll(async () => {
    world = await World.start();
    await world.mount();
    const account = world.simulator.account();
    account.putUserPolicy(account.existingUser('leasehold-root'), 'federate', seedFederationPolicy());
    await world.http.must(204, 'PUT', 'aws/roles/deploy', { policy });
    for (const path of ['aws/creds/deploy', 'aws/sts/deploy']) {
      const { body } = await world.http.must(200, 'GET', path);
      lent.push(body.data as unknown as LentKeys);
      const kept = await world.http.must(200, 'GET', path, undefined, {
        headers: { 'Idempotency-Key': idempotencyKey },
      });
      lent.push(kept.body.data as unknown as LentKeys);
    }
    for (const body of [{ policies: ['x'] }, { policies: ['x'], type: 'batch' }]) {
      const { body: made } = await world.http.must(200, 'POST', 'auth/token/create', body);
      given.push((made.auth as { client_token: string }).client_token);
    }
    const role = 'auth/approle/role/ci';
    await world.http.must(204, 'POST', role, { token_policies: 'x' });
    const { role_id } = (await world.http.must(200, 'GET', `${role}/role-id`)).body.data;
    const { secret_id } = (await world.http.must(200, 'POST', `${role}/secret-id`, {})).body.data;
    const { body: loggedIn } = await world.http.must(200, 'POST', 'auth/approle/login', { role_id, secret_id });
    given.push(secret_id as string, (loggedIn.auth as { client_token: string }).client_token);
    await world.http.call('POST', 'auth/approle/login', { role_id: 'wrong', secret_id });
    await world.http.call('POST', 'auth/token/renew', { token: given[0], increment: 'x' });
    // The paths of failure write more than the others.
    world.simulator.faults.fail({ action: 'PutUserPolicy', code: 'AccessDenied', status: 403, times: 1 });
    world.simulator.faults.loseReply({ action: 'CreateAccessKey', times: 1 });
    await world.http.call('GET', 'aws/creds/deploy');
    await world.http.call('GET', 'aws/creds/deploy');
    await world.http.call('PUT', 'aws/config/root', { secret_key: { nested: world.root.secretAccessKey } });
    await world.http.call('PUT', 'aws/config/root', `{"secret_key": "${world.root.secretAccessKey}`);
    await world.http.call('GET', 'sys/mounts', undefined, { token: `${world.http.token}x` });
  });
  afterAll(() => world.close());

  const secrets = () => [
    world.root.secretAccessKey,
    world.http.token,
    idempotencyKey,
    ...given,
    ...lent.flatMap((keys) => [keys.secret_key, ...(keys.security_token ? [keys.security_token] : [])]),
  ];

  /** Every value of every table, the queue's included, as text. */
  async function everyRow(): Promise<string> {
    const { rows: tables } = await world.database.query<{ name: string }>(
      `select format('%I.%I', table_schema, table_name) as name from information_schema.tables
       where table_type = 'BASE TABLE' and table_schema not in ('pg_catalog', 'information_schema')`,
    );
    expect(tables.map((table) => table.name)).toEqual(expect.arrayContaining(['public.leases', 'public.root_configs']));
    const texts = await Promise.all(
      tables.map(async ({ name }) => {
        const { rows } = await world.database.query<{ row: string }>(`select t::text as row from ${name} t`);
        return rows.map(({ row }) => row).join('\n');
      }),
    );
    return texts.join('\n');
  }

  it('is in no table, in no form', async () => {
    const { rows } = await world.database.query('select sealed_answer from idempotent_answers');
    expect(rows).toEqual([{ sealed_answer: expect.any(String) }, { sealed_answer: expect.any(String) }]);
    const text = await everyRow();
    expect(text).toContain(world.root.accessKeyId);
    for (const secret of secrets()) for (const form of forms(secret)) expect(text.includes(form)).toBe(false);
  });

  it('is in no line of the log, in no form', () => {
    const text = world.log.join('\n');
    expect(text).toContain('issue failed');
    for (const secret of secrets()) for (const form of forms(secret)) expect(text.includes(form)).toBe(false);
  });

  it('is not read back from config/root, not even when a write of it is refused', async () => {
    const answers = [
      await world.http.call('GET', 'aws/config/root'),
      await world.http.call('PUT', 'aws/config/root', { secret_key: [world.root.secretAccessKey] }),
      await world.http.call('PUT', 'aws/config/root', `{"secret_key": "${world.root.secretAccessKey}`),
      await world.http.call('PUT', 'aws/config/root', `{"secret_key": '${world.root.secretAccessKey}'}`),
    ];
    expect(answers.map((answer) => answer.status)).toEqual([200, 400, 400, 400]);
    for (const answer of answers) expect(answer.text).not.toContain(world.root.secretAccessKey.slice(0, 8));
  });

  it('would be found: a planted one is', async () => {
    await world.database.query(`update mounts set description = $1`, [world.root.secretAccessKey]);
    expect((await everyRow()).includes(world.root.secretAccessKey)).toBe(true);
  });
});
