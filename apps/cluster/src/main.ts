import { randomBytes } from 'node:crypto';
import { createWriteStream } from 'node:fs';
import { chmod, mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { startRabbitmq, startRedis } from '#servers';
import { newIssuerKeys } from '#libs/contracts';
import { startEmbeddedPostgres, StartRefused } from '#libs/runtime';
import { Fleet, type Service } from './fleet.js';

const say = (line: string) => void process.stdout.write(`${line}\n`);

/**
 * `npm run cluster`: the production shape on this machine until Ctrl-C. PostgreSQL, RabbitMQ and Redis are those of
 * DATABASE_URL, RABBITMQ_URL and REDIS_URL, or private ones; then a gateway, two issuers, a revoker and the simulator,
 * each a process.
 */
export async function main(): Promise<void> {
  const stops: (() => Promise<unknown>)[] = [];
  let running: Promise<void> = Promise.resolve();
  let stopping: Promise<void> | null = null;
  // What is being started stands on what was started before: it is let finish, or fail, before that is taken away.
  const stop = () => (stopping ??= running.catch(() => undefined).then(() => stopAll(stops)));
  // SIGHUP, when the terminal is closed: to the services it says something else.
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) {
    process.on(signal, () => {
      if (stopping) process.exit(130); // a second one means: at once
      say('Stopping.');
      void stop().then(() => process.exit(0));
    });
  }
  try {
    await (running = run(stops, () => stopping !== null));
  } catch (error) {
    if (stopping) return;
    await stop();
    const told = error instanceof StartRefused || (error as Error).name === 'ServersRefused';
    process.stderr.write(`${told ? (error as Error).message : ((error as Error).stack ?? String(error))}\n`);
    process.exit(1);
  }
}

async function stopAll(stops: (() => Promise<unknown>)[]): Promise<void> {
  while (stops.length > 0) await stops.pop()!().catch((error: unknown) => process.stderr.write(`${String(error)}\n`));
}

async function run(stops: (() => Promise<unknown>)[], isStopping: () => boolean): Promise<void> {
  const folder = await mkdtemp(join(tmpdir(), 'leasehold-cluster-'));
  stops.push(() => rm(folder, { recursive: true, force: true, maxRetries: 5 }));
  await chmod(folder, 0o755); // under root the database server runs as another user and has to get through
  const { env } = process;
  const [databaseUrl, redisUrl, rabbitmqUrl] = await Promise.all([
    env.DATABASE_URL ?? started('PostgreSQL', startEmbeddedPostgres({ dataDir: join(folder, 'postgresql') }), stops),
    env.REDIS_URL ?? started('Redis', startRedis({ folder: join(folder, 'redis'), say }), stops),
    env.RABBITMQ_URL ?? started('RabbitMQ', startRabbitmq({ folder: join(folder, 'rabbitmq'), say }), stops),
  ]);

  const keys = newIssuerKeys();
  const rootToken = env.LEASEHOLD_ROOT_TOKEN ?? `hvs.${randomBytes(24).toString('base64url')}`;
  const logFile = join(folder, 'services.log');
  const log = createWriteStream(logFile);
  const fleet = new Fleet(
    {
      DATABASE_URL: databaseUrl,
      REDIS_URL: redisUrl,
      RABBITMQ_URL: rabbitmqUrl,
      LEASEHOLD_MASTER_KEY: env.LEASEHOLD_MASTER_KEY ?? randomBytes(32).toString('base64'),
      LEASEHOLD_ISSUER_KEY: keys.privateKey,
      LEASEHOLD_ISSUER_PUBLIC_KEY: keys.publicKey,
      LEASEHOLD_DRAIN_MS: '0',
    },
    (line, from) => log.write(`${from.kind} ${from.pid} ${line}\n`),
  );
  stops.push(() => fleet.close());
  await fleet.migrate({ LEASEHOLD_ROOT_TOKEN: rootToken });
  const aws = await simulatedAws(fleet);
  const services = await Promise.all(
    [
      fleet.start('gateway', { PORT: env.PORT ?? '8200' }),
      fleet.start('issuer', aws),
      fleet.start('issuer', aws),
      fleet.start('revoker', aws),
    ].map((service) => service.serves()),
  );
  for (const service of services) void tellEnd(service, isStopping);
  introduce(services, rootToken, logFile, { RABBITMQ_URL: rabbitmqUrl, ...aws }, keys.publicKey);
}

async function tellEnd(service: Service, isStopping: () => boolean): Promise<void> {
  const code = await service.ended;
  if (!isStopping()) say(`The ${service.kind} ${service.pid} ended (${code ?? 'by a signal'}); the others go on.`);
}

async function started(
  name: string,
  server: Promise<{ url: string; stop(): Promise<void> }>,
  stops: (() => Promise<unknown>)[],
): Promise<string> {
  const { url, stop } = await server;
  stops.push(stop);
  say(`${name} is up.`);
  return url;
}

/** The simulator as a process, and what makes mounts without credentials of their own work on it. */
async function simulatedAws(fleet: Fleet): Promise<Record<string, string>> {
  const simulator = await fleet.start('simulator', { SIMULATOR_PORT: '0' }).serves();
  const answer = await fetch(`${simulator.url}/_simulator/seed`, {
    method: 'POST',
    body: JSON.stringify({ rootIdentity: { userName: 'leasehold-root' } }),
  });
  const { rootIdentity } = (await answer.json()) as { rootIdentity: { accessKeyId: string; secretAccessKey: string } };
  return {
    LEASEHOLD_AWS_ENDPOINT: simulator.url,
    AWS_ACCESS_KEY_ID: rootIdentity.accessKeyId,
    AWS_SECRET_ACCESS_KEY: rootIdentity.secretAccessKey,
    AWS_REGION: 'us-east-1',
  };
}

function introduce(
  services: Service[],
  rootToken: string,
  logFile: string,
  { RABBITMQ_URL, LEASEHOLD_AWS_ENDPOINT }: Record<string, string>,
  publicKey: string,
): void {
  const [gateway] = services;
  say(`
${services.map((service) => `  ${service.kind.padEnd(8)} pid ${service.pid}  health and metrics at ${service.operations}`).join('\n')}
  simulator of AWS at ${LEASEHOLD_AWS_ENDPOINT}
Leasehold serves at ${gateway!.url}. Root token: ${rootToken}
Log: ${logFile}

Try:
  export VAULT_ADDR=${gateway!.url} VAULT_TOKEN=${rootToken}
  curl -s -H "X-Vault-Token: $VAULT_TOKEN" -d '{"type":"aws"}' $VAULT_ADDR/v1/sys/mounts/aws
  curl -s -H "X-Vault-Token: $VAULT_TOKEN" -d '{"credential_type":"iam_user","policy_arns":"arn:aws:iam::aws:policy/AmazonEC2ReadOnlyAccess"}' $VAULT_ADDR/v1/aws/roles/deploy
  curl -s -H "X-Vault-Token: $VAULT_TOKEN" $VAULT_ADDR/v1/aws/creds/deploy

For services that ask over AMQP (see examples/):
  export RABBITMQ_URL=${RABBITMQ_URL} LEASEHOLD_TOKEN=${rootToken}
  export LEASEHOLD_ISSUER_PUBLIC_KEY=${publicKey} LEASEHOLD_AWS_ENDPOINT=${LEASEHOLD_AWS_ENDPOINT}

Ctrl-C ends everything.`);
}
