import { randomBytes } from 'node:crypto';
import { newIssuerKeys } from '#libs/contracts';

/** `npm run keys`: new keys for a new system, as lines for its environment. They are shown once and kept nowhere. */
const { privateKey, publicKey } = newIssuerKeys();
process.stdout.write(`LEASEHOLD_MASTER_KEY=${randomBytes(32).toString('base64')}
LEASEHOLD_ROOT_TOKEN=hvs.${randomBytes(24).toString('base64url')}
LEASEHOLD_ISSUER_KEY=${privateKey}
LEASEHOLD_ISSUER_PUBLIC_KEY=${publicKey}
`);
