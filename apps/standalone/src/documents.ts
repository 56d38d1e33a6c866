import { randomBytes } from 'node:crypto';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { leaseTimingSchema } from '#libs/leases';
import { JsonLog, startEmbeddedPostgres } from '#libs/runtime';
import { startSystem } from './system.js';

/** Writes `docs/openapi.json` and `docs/asyncapi.json`, as a running system serves them. */
const folder = await mkdtemp(join(tmpdir(), 'leasehold-documents-'));
const database = await startEmbeddedPostgres({ dataDir: join(folder, 'postgres') });
const rootToken = randomBytes(24).toString('base64url');
const system = await startSystem({
  databaseUrl: database.url,
  masterKey: randomBytes(32),
  rootToken,
  timing: leaseTimingSchema.parse({}),
  surroundings: {
    ambientCredentials: () => () => Promise.reject(new Error('no AWS here')),
    ambientRegion: 'us-east-1',
  },
  logger: new JsonLog({ write: () => undefined }),
  port: 0,
});
try {
  for (const [name, query] of Object.entries({ openapi: '?generic_mount_paths=true', asyncapi: '' })) {
    const url = `${system.url}/v1/sys/internal/specs/${name}${query}`;
    const answer = await fetch(url, { headers: { 'X-Vault-Token': rootToken } });
    if (!answer.ok) throw new Error(`${name}: ${answer.status} ${await answer.text()}`);
    const file = join('docs', `${name}.json`);
    await writeFile(file, `${JSON.stringify(await answer.json(), null, 2)}\n`);
    process.stdout.write(`${file}\n`);
  }
} finally {
  await system.close();
  await database.stop();
  await rm(folder, { recursive: true });
}
