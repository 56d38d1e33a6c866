import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { randomBytes } from 'node:crypto';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { type Server, startRedis } from '#servers';
import type { Fleet, Kind, Service } from '../../apps/cluster/src/fleet.js';
import { newFleet } from '../support/services.js';
import { eventually, freshDatabase, quickTiming } from '../support/world.js';

const kinds: Kind[] = ['gateway', 'issuer', 'revoker'];
const tell = (line: string) => process.stderr.write(`    ${line}\n`);
const root = fileURLToPath(new URL('../..', import.meta.url));

describe('a service that is told to stop', () => {
  let folder: string;
  let redis: Server;
  let database: Awaited<ReturnType<typeof freshDatabase>>;
  let fleet: Fleet;
  let services: Service[];

  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), 'stopping-'));
    [redis, database] = await Promise.all([startRedis({ folder: join(folder, 'redis') }), freshDatabase()]);
    fleet = newFleet({
      databaseUrl: database.url,
      redisUrl: redis.url,
      masterKey: randomBytes(32),
      timing: quickTiming,
      aws: { url: 'http://127.0.0.1:1', accessKeyId: 'none', secretAccessKey: 'none' },
    });
    await fleet.migrate();
  }, 120_000);
  afterAll(async () => {
    await redis.thaw();
    for (const service of fleet.running()) await service.end('SIGKILL');
    await redis.stop();
    await database.drop();
    await rm(folder, { recursive: true, force: true });
  });

  const serve = async () => {
    services = await Promise.all(kinds.map((kind) => fleet.start(kind).serves()));
    await eventually(async () => (await Promise.all(services.map((each) => each.isReady()))).every(Boolean));
  };

  /** Stops all, and gives the codes that they end with; 1 is that of a stop whose time was over. */
  async function stop(how: string): Promise<(number | null)[]> {
    const toldAt = performance.now();
    return Promise.all(
      services.map(async (service) => {
        await service.end();
        tell(`Redis ${how}: the ${service.kind} ends after ${Math.round(performance.now() - toldAt)} ms`);
        return service.ended;
      }),
    );
  }

  it('ends in order while Redis is away', async () => {
    await serve();
    await redis.stop();
    await eventually(async () => !(await Promise.all(services.map((each) => each.isReady()))).some(Boolean));
    expect(await stop('away')).toEqual([0, 0, 0]);
  }, 120_000);

  it('ends in order while Redis is frozen', async () => {
    await redis.start();
    await serve();
    await redis.freeze();
    expect(await stop('frozen')).toEqual([0, 0, 0]);
    await redis.thaw();
  }, 120_000);

  it('is reached by a signal that was sent to its npm script', async () => {
    await redis.start();
    const npm = spawn('npm', ['run', 'gateway'], {
      cwd: root,
      env: { ...fleet.environment, PATH: process.env.PATH, HOME: folder, PORT: '0', LEASEHOLD_OPERATIONS_PORT: '0' },
      stdio: ['ignore', 'pipe', 'inherit'],
      detached: true,
    });
    let said = '';
    npm.stdout.on('data', (chunk: Buffer) => (said += chunk.toString()));
    const closed = once(npm, 'close');
    try {
      await eventually(() => said.includes('"msg":"gateway serves"'), 20_000);
      npm.kill('SIGTERM');
      await eventually(() => said.includes('"msg":"gateway stops"'));
    } finally {
      endGroup(npm.pid!);
      await closed;
    }
  }, 40_000);
});

/** What has ended by itself by now, as it was told, is fine. */
function endGroup(pid: number): void {
  try {
    process.kill(-pid, 'SIGKILL');
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ESRCH') throw error;
  }
}
