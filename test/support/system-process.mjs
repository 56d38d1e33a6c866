import { startSystem } from '../../dist/apps/standalone/src/system.js';
import { JsonLog } from '../../dist/libs/runtime/src/index.js';

/** The whole system in a process that may be killed; what it is started with comes from its parent, and it ends with it. */
process.once('disconnect', () => process.exit());
process.once('message', async ({ masterKey, credentials, surroundings, ...options }) => {
  const system = await startSystem({
    ...options,
    masterKey: Buffer.from(masterKey, 'base64'),
    surroundings: { ...surroundings, ambientCredentials: () => () => Promise.resolve(credentials) },
    logger: new JsonLog(process.stdout),
  });
  process.once('message', async () => {
    await system.close();
    process.disconnect();
  });
  process.send({ url: system.url });
});
