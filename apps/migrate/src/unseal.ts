import { Seal } from '#libs/access';
import { readEnvironment } from '#libs/runtime';
import { accessEnv, offline, withAccess } from './offline.js';

/** `npm run unseal`: what `sys/unseal` does, for an operator who has the services' environment and not the key's text. */
await offline(async () => {
  const env = readEnvironment('unsealing', accessEnv, process.env);
  const wasSealed = await withAccess(env, async (app) => {
    const seal = app.get(Seal);
    const sealed = await seal.isSealed();
    await seal.unseal();
    return sealed;
  });
  process.stdout.write(wasSealed ? 'The system is unsealed.\n' : 'The system was not sealed; nothing to do.\n');
});
