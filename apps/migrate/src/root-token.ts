import { randomBytes } from 'node:crypto';
import { Tokens } from '#libs/access';
import { readEnvironment, StartRefused } from '#libs/runtime';
import { accessEnv, offline, withAccess } from './offline.js';

/**
 * `npm run root-token`: makes a root token for who has lost theirs; `-- --replace` ends those there were. The token alone goes to the
 * standard output, once; it is kept nowhere.
 */
await offline(async () => {
  const [option, ...more] = process.argv.slice(2);
  if ((option && option !== '--replace') || more.length > 0) {
    throw new StartRefused('No token was made: there is one option, --replace, which ends the root tokens there were.');
  }
  const env = readEnvironment('root token', accessEnv, process.env);
  const token = `hvs.${randomBytes(24).toString('base64url')}`;
  await withAccess(env, async (app) => {
    const tokens = app.get(Tokens);
    await (option ? tokens.replaceRootTokens(token) : tokens.addRootToken(token));
  });
  process.stdout.write(`${token}\n`);
  process.stderr.write(
    option
      ? 'This is the only root token now. If LEASEHOLD_ROOT_TOKEN is set for "npm run migrate", set it to this one: it would come back.\n'
      : 'This is a root token beside those there are; "-- --replace" would have ended them.\n',
  );
});
