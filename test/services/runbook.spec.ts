import { execFile } from 'node:child_process';
import { readFile } from 'node:fs/promises';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import type { Fleet, Kind } from '../../apps/cluster/src/fleet.js';
import { lend, writeRole } from '../support/lease-life.js';
import { eventually, type World } from '../support/world.js';
import { worldOfServices } from '../support/world-of-services.js';

const root = fileURLToPath(new URL('../..', import.meta.url));
const kinds: Kind[] = ['gateway', 'issuer', 'revoker'];

describe('the runbook', () => {
  let world: World;
  let fleet: Fleet;
  let page: string;
  let blocks: { language: string; text: string }[];

  beforeAll(async () => {
    page = await readFile(new URL('../../docs/operations.md', import.meta.url), 'utf8');
    const runbook = page.slice(page.indexOf('\n## Runbook\n'), page.indexOf('\n## Revocation that does not finish\n'));
    blocks = [...runbook.matchAll(/^```(sh|sql)\n(.*?)^```$/gms)].map(([, language, text]) => ({
      language: language!,
      text: text!,
    }));
    ({ world, fleet } = await worldOfServices({ weather: {} }, { kinds }));
    await world.mount();
    await writeRole(world, 'deploy');
  }, 120_000);
  afterAll(() => world.close());

  it('has commands that a running system takes, each of them', async () => {
    const { leaseId } = await lend(world, 'deploy');
    const env = {
      ...fleet.environment,
      PATH: process.env.PATH,
      VAULT_ADDR: world.http.url,
      VAULT_TOKEN: world.http.token,
      OPERATIONS: fleet.running('revoker')[0]!.operations,
      LEASE: leaseId,
      MOUNT: 'aws',
    };
    const [given, ...steps] = blocks.filter(({ language }) => language === 'sh').map(({ text }) => text);
    const commands = steps.flatMap((text) => text.trim().split('\n'));
    expect(commands.length).toBeGreaterThan(10);
    for (const command of commands) {
      const { stdout } = await promisify(execFile)('sh', ['-ec', `${given}\n${command}`], { cwd: root, env });
      expect([command, stdout]).toEqual([command, expect.not.stringContaining('"errors"')]);
    }
    await eventually(() => world.lentUsers().length === 0);
  }, 120_000);

  it('has queries that the database answers, and that find nothing wrong with a system that is well', async () => {
    const lent = await lend(world, 'deploy');
    const queries = blocks.filter(({ language }) => language === 'sql').flatMap(({ text }) => text.trim().split(/;$/m));
    for (const query of queries.filter(Boolean)) {
      const { rows } = await world.database.query(query.replace('AKIA...', lent.keys.access_key));
      if (query.includes('-- 2')) expect(rows).toEqual([]);
      if (query.includes('access_key_id')) expect(rows).toMatchObject([{ id: lent.leaseId, state: 'active' }]);
    }
    expect(queries.length).toBeGreaterThan(4);
  });

  it('and the alerts speak of figures that there are', async () => {
    const texts = await Promise.all(
      kinds.map(async (kind) => (await fetch(`${fleet.running(kind)[0]!.operations}/metrics`)).text()),
    );
    const figures = new Set(texts.flatMap((text) => [...text.matchAll(/^# TYPE (\S+)/gm)].map((found) => found[1]!)));
    const named = [...page.matchAll(/\b(?:leasehold|vault)_[a-z_]+(?=[{[)`])/g)].map((found) =>
      found[0].replace(/_bucket$/, ''),
    );
    expect(named.length).toBeGreaterThan(25);
    expect(named.filter((name) => !figures.has(name) && !name.endsWith('_'))).toEqual([]);
  });
});
