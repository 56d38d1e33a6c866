import { randomBytes } from 'node:crypto';

/** `node deploy/passwords.mjs`: new passwords for docker-compose.yml, as lines for its .env. They are kept nowhere else. */
for (const of of [
  'POSTGRES',
  'RABBITMQ_GATEWAY',
  'RABBITMQ_ISSUER',
  'RABBITMQ_REVOKER',
  'REDIS_GATEWAY',
  'REDIS_ISSUER',
  'REDIS_REVOKER',
]) {
  process.stdout.write(`${of}_PASSWORD=${randomBytes(24).toString('hex')}\n`);
}
