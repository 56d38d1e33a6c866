import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { broken, runBroken } from '../chaos/broken.js';
import type { Held } from '../chaos/callers.js';
import { points } from '../chaos/points.js';
import { Rig } from '../chaos/rig.js';
import { lendKept, runOnce } from '../chaos/run.js';
import { brokenSource } from '../support/broken-copy.js';
import { testServers } from '../support/services.js';
import { freshDatabase } from '../support/world.js';

const tell = (line: string) => process.stderr.write(`    ${line}\n`);

/** Those of the matrix where most is at stake; `npm run test:chaos` has them all. */
const sharpest = [
  'issue: CreateUser done | answered',
  'issue: CreateAccessKey sent | arrives',
  'issue: delivered again | not committed',
  'once: acceptance | committed',
  'accept: acceptance | not committed',
  'accept: acceptance | committed',
  'revoke: request without a wait | committed',
  'revoke: alarm set | answered',
  'revoke: DeleteAccessKey done | answered',
  'pool: CreateAccessKey done | answered',
  'hand-out: handed out | committed',
  'hand-out once: handed out | answer sent',
  'paused: CreateUser sent | arrives too late',
].map((name) => points.find((point) => point.name === name)!);

describe('services killed between two neighbouring effects', () => {
  let rig: Rig;
  let kept: Held[];
  let drop: () => Promise<void>;

  beforeAll(async () => {
    const { url: databaseUrl, drop: dropIt } = await freshDatabase();
    drop = dropIt;
    rig = await Rig.start({ databaseUrl, ...testServers() });
    kept = await lendKept(rig);
  }, 60_000);

  afterAll(async () => {
    await rig?.close();
    await drop();
  }, 30_000);

  it.each(sharpest)(
    'leave nothing alive, doubled or forgotten: $name',
    async (point) => {
      const { killed, left, ms } = await runOnce(rig, point, 1, kept);
      tell(`${point.name}: ${killed} × ${point.victim} killed, ${left.length} left, ${Math.round(ms)} ms`);
      expect(left).toEqual([]);
    },
    60_000,
  );
});

describe('a build that is broken on purpose', () => {
  it.each(broken)('can still be broken: $name', async (build) => {
    expect(await brokenSource(build)).toContain(build.to);
  });

  it('is found out: the intent is written after CreateUser', async () => {
    const { url: databaseUrl, drop } = await freshDatabase();
    try {
      const { red, said } = await runBroken(broken[0]!, { databaseUrl, ...testServers() });
      tell(said.trimEnd().split('\n').at(1)!);
      expect(red).toBe(true);
    } finally {
      await drop();
    }
  }, 120_000);
});
