import { randomBytes } from 'node:crypto';
import { setTimeout as after } from 'node:timers/promises';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from '@jest/globals';
import { Keyring } from '#libs/access';
import { migrate } from '#libs/runtime';
import { DataSource } from 'typeorm';
import { AuditDevices } from '../libs/audit/src/audit-devices.js';
import { eventually, freshDatabase } from './support/world.js';

describe('the keyring', () => {
  let database: Awaited<ReturnType<typeof freshDatabase>>;
  let source: DataSource;
  const masterKey = randomBytes(32);

  beforeAll(async () => {
    database = await freshDatabase();
    await migrate({ url: database.url });
    source = await new DataSource({ type: 'postgres', url: database.url }).initialize();
    await source.query(`create table kept (name text primary key, sealed_secret text, other text)`);
  });
  afterAll(async () => {
    await source.destroy();
    await database.drop();
  });
  beforeEach(() => source.query(`delete from keyring`));
  afterEach(() => source.query(`delete from kept`));

  const open = (...keys: Buffer[]) => Keyring.open(source, ...(keys.length > 0 ? keys : [masterKey]));
  const keep = (name: string, sealed: string) =>
    source.query(`insert into kept (name, sealed_secret) values ($1, $2)`, [name, sealed]);
  const kept = async (name: string): Promise<string> => {
    const [row] = (await source.query(`select sealed_secret as sealed from kept where name = $1`, [name])) as [
      { sealed: string },
    ];
    return row.sealed;
  };
  const terms = async (): Promise<number[]> => {
    const rows = (await source.query(`select term from keyring where purpose = 'seal' order by term`)) as {
      term: number;
    }[];
    return rows.map((row) => row.term);
  };

  it('opens what was sealed under an older term, at every process, and seals under the newest', async () => {
    const [one, other] = [await open(), await open()];
    const old = await one.seal('secret', 'test', source.manager);
    await one.rotate();
    // The other process has heard of nothing.
    const young = await other.seal('secret', 'test', source.manager);
    expect([await other.unseal(old, 'test'), await one.unseal(young, 'test')]).toEqual(['secret', 'secret']);
    const keyOf = (sealed: string) => JSON.parse(Buffer.from(sealed.split('.')[0]!, 'base64url').toString()).kid;
    expect(keyOf(young)).not.toBe(keyOf(old));
    expect(await one.seal('secret', 'test', source.manager).then(keyOf)).toBe(keyOf(young));
    expect(await one.term()).toMatchObject({ term: 2 });
  });

  it('ends no term while the salt of an audit device is being stored under it', async () => {
    const keyring = await open();
    let again: Promise<unknown> = Promise.resolve();
    const interrupted = Object.assign(Object.create(keyring) as Keyring, {
      seal: async (...given: Parameters<Keyring['seal']>) => {
        const sealed = await keyring.seal(...given);
        await keyring.rotate();
        again = keyring.sealAgain();
        await Promise.race([again, after(500)]);
        return sealed;
      },
    });
    const options = { file_path: '/dev/null' };
    const device = { path: 'file/', type: 'file', description: '', local: false, options };
    await new AuditDevices(source.manager, interrupted, undefined).add(device);
    await again;
    // As a process that starts now sees it.
    const { devices } = await new AuditDevices(source.manager, await open(), undefined).open();
    expect(devices).toMatchObject([{ path: 'file/' }]);
    expect(await keyring.sealAgain()).toEqual([1]);
    expect((await new AuditDevices(source.manager, await open(), undefined).open()).devices).toHaveLength(1);
    await source.query(`delete from audit_devices`);
  });

  it('seals again what older terms have sealed, and then ends them', async () => {
    const keyring = await open();
    await keep('first', await keyring.seal('one', 'test first', source.manager));
    await keyring.rotate();
    await keep('second', await keyring.seal('two', 'test second', source.manager));
    await keyring.rotate();
    expect(await terms()).toEqual([1, 2, 3]);
    expect(await keyring.sealAgain()).toEqual([1, 2]);
    expect(await terms()).toEqual([3]);
    const young = await open();
    expect(await young.unseal(await kept('first'), 'test first')).toBe('one');
    expect(await young.unseal(await kept('second'), 'test second')).toBe('two');
    await expect(young.unseal(await kept('second'), 'test first')).rejects.toThrow('another purpose');
    expect(await young.sealAgain()).toEqual([]);
  });

  it('ends no term while a value of it is being stored, or cannot be opened', async () => {
    const keyring = await open();
    const writing = source.createQueryRunner();
    await writing.startTransaction();
    const sealed = await keyring.seal('late', 'test', writing.manager);
    await keyring.rotate();
    const again = keyring.sealAgain();
    // It has found nothing to seal again, and waits for the one who may still store something.
    await eventually(async () => {
      const waiting = await source.query(
        `select 1 from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'`,
      );
      return (waiting as unknown[]).length > 0;
    });
    await writing.query(`insert into kept (name, sealed_secret) values ('late', $1)`, [sealed]);
    await writing.commitTransaction();
    await writing.release();
    expect(await again).toEqual([]);
    expect(await terms()).toEqual([1, 2]);
    await source.query(`update kept set sealed_secret = sealed_secret || 'x'`);
    expect(await keyring.sealAgain()).toEqual([]);
    await source.query(`update kept set sealed_secret = $1`, [sealed]);
    expect(await keyring.sealAgain()).toEqual([1]);
    expect(await keyring.unseal(await kept('late'), 'test')).toBe('late');
  });

  it('writes over no secret that was changed while it was sealed again', async () => {
    const keyring = await open();
    await keep('changed', await keyring.seal('old', 'test', source.manager));
    await keyring.rotate();
    const writing = source.createQueryRunner();
    await writing.startTransaction();
    await writing.query(`update kept set sealed_secret = $1`, [await keyring.seal('new', 'test', writing.manager)]);
    const again = keyring.sealAgain();
    await writing.commitTransaction();
    await writing.release();
    await again;
    expect(await (await open()).unseal(await kept('changed'), 'test')).toBe('new');
    await keyring.sealAgain();
    expect(await terms()).toEqual([2]);
  });

  it('rotates and seals again from many processes at once', async () => {
    const keyrings = await Promise.all(Array.from({ length: 4 }, () => open()));
    await Promise.all(
      keyrings.map(async (keyring, nth) =>
        keep(`n${nth}`, await keyring.seal(`secret ${nth}`, 'test', source.manager)),
      ),
    );
    await Promise.all(keyrings.map((keyring) => keyring.rotate()));
    await Promise.all(keyrings.map((keyring) => keyring.sealAgain()));
    await keyrings[0]!.sealAgain();
    expect(await terms()).toEqual([5]);
    const young = await open();
    for (const nth of [0, 1, 2, 3]) expect(await young.unseal(await kept(`n${nth}`), 'test')).toBe(`secret ${nth}`);
  });

  describe('under a new master key', () => {
    const newKey = randomBytes(32);

    it('is opened by either while both are given, and by the new one alone after the change', async () => {
      const running = await open();
      const sealed = await running.seal('secret', 'test', source.manager);
      const hash = running.hashToken('token');
      const both = await open(newKey, masterKey);
      await expect(open(newKey)).rejects.toThrow(/^The master key does not open the keyring/);
      // Begun by who has both, and opened by who has only the old one.
      await both.rotate();
      const young = await both.seal('young', 'test', source.manager);
      expect(await running.unseal(young, 'test')).toBe('young');

      expect(await Keyring.rekey(source, masterKey, newKey)).toBe(true);
      expect(await Keyring.rekey(source, masterKey, newKey)).toBe(false);
      await expect(open(masterKey)).rejects.toThrow(/^The master key does not open the keyring/);
      for (const keyring of [running, both, await open(newKey), await open(newKey, masterKey)]) {
        expect(await keyring.unseal(sealed, 'test')).toBe('secret');
        expect(keyring.hashToken('token')).toEqual(hash);
      }
      expect([await both.isSealedUnder(masterKey), await both.isSealedUnder(newKey)]).toEqual([false, true]);
      await both.rotate();
      expect(await both.unseal(await both.seal('after', 'test', source.manager), 'test')).toBe('after');
    });

    it('is not touched when the old key is wrong', async () => {
      const keyring = await open();
      const before = await source.query(`select * from keyring order by id`);
      await expect(Keyring.rekey(source, randomBytes(32), newKey)).rejects.toThrow(/^The master key does not open/);
      expect(await source.query(`select * from keyring order by id`)).toEqual(before);
      expect(await keyring.isSealedUnder(masterKey)).toBe(true);
    });

    it('is refused where there is none', async () => {
      await expect(Keyring.rekey(source, masterKey, newKey)).rejects.toThrow('This database has no keyring yet');
    });
  });
});
