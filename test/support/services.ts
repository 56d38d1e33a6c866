import { randomBytes } from 'node:crypto';
import { newIssuerKeys } from '#libs/contracts';
import { Fleet, type Kind } from '../../apps/cluster/src/fleet.js';
import type { RunningSystem, SystemOptions } from '../../apps/standalone/src/system.js';

/** The servers that the run was given. @throws Error that says how to get them. */
export function testServers(): { redisUrl: string; rabbitmqUrl: string } {
  const { TEST_REDIS_URL: redisUrl, TEST_RABBITMQ_URL: rabbitmqUrl } = process.env;
  if (!redisUrl || !rabbitmqUrl) {
    throw new Error('TEST_REDIS_URL and TEST_RABBITMQ_URL are not set: run the tests with `npm test`.');
  }
  return { redisUrl, rabbitmqUrl };
}

export interface FleetOptions {
  databaseUrl: string;
  redisUrl?: string;
  rabbitmqUrl?: string;
  masterKey: Buffer;
  timing: object;
  /** Endpoint and root credentials of AWS. */
  aws: { url?: string; accessKeyId: string; secretAccessKey: string; backoffMs?: number };
  env?: Record<string, string>;
  onLine?: ConstructorParameters<typeof Fleet>[1];
}

/** The services of one system on the servers of the run, with queues and keys of its own; none is started yet. */
export function newFleet(options: FleetOptions): Fleet {
  const keys = newIssuerKeys();
  const servers = options.redisUrl && options.rabbitmqUrl ? null : testServers();
  return new Fleet(
    {
      DATABASE_URL: options.databaseUrl,
      REDIS_URL: options.redisUrl ?? servers!.redisUrl,
      RABBITMQ_URL: options.rabbitmqUrl ?? servers!.rabbitmqUrl,
      LEASEHOLD_NAMESPACE: `test-${randomBytes(6).toString('hex')}`,
      LEASEHOLD_MASTER_KEY: options.masterKey.toString('base64'),
      LEASEHOLD_ISSUER_KEY: keys.privateKey,
      LEASEHOLD_ISSUER_PUBLIC_KEY: keys.publicKey,
      LEASEHOLD_TIMING: JSON.stringify(options.timing),
      LEASEHOLD_DRAIN_MS: '0',
      LEASEHOLD_AWS_BACKOFF_MS: String(options.aws.backoffMs ?? 20),
      ...(options.aws.url ? { LEASEHOLD_AWS_ENDPOINT: options.aws.url } : {}),
      AWS_ACCESS_KEY_ID: options.aws.accessKeyId,
      AWS_SECRET_ACCESS_KEY: options.aws.secretAccessKey,
      AWS_REGION: 'us-east-1',
      ...options.env,
    },
    options.onLine,
  );
}

/** For `World.start`: a gateway, two issuers and a revoker, each a process, on RabbitMQ, Redis and PostgreSQL. */
export async function startServices(system: SystemOptions, onLine: (line: string) => void): Promise<RunningSystem> {
  const fleet = await startFleet(system, { onLine });
  return { url: fleet.running('gateway')[0]!.url, close: () => fleet.close() };
}

/** The services of a system, each a process, serving; `given` says what differs from `startServices`. */
export async function startFleet(
  system: SystemOptions,
  { kinds = ['gateway', 'issuer', 'issuer', 'revoker'], ...given }: Partial<FleetOptions> & { kinds?: Kind[] } = {},
): Promise<Fleet> {
  const { surroundings } = system;
  const credentials = await surroundings.ambientCredentials()();
  const fleet = newFleet({
    databaseUrl: system.databaseUrl,
    masterKey: system.masterKey,
    timing: system.timing,
    aws: { url: surroundings.defaultEndpoint, ...credentials, backoffMs: surroundings.backoffMs },
    env: {
      ...(surroundings.usersPerAccount ? { LEASEHOLD_AWS_USERS: String(surroundings.usersPerAccount) } : {}),
      ...(system.auditFile ? { LEASEHOLD_AUDIT_FILE: system.auditFile } : {}),
    },
    ...given,
  });
  try {
    await fleet.migrate({ LEASEHOLD_ROOT_TOKEN: system.rootToken });
    await Promise.all(kinds.map((kind) => fleet.start(kind).serves()));
    return fleet;
  } catch (error) {
    await fleet.close();
    throw error;
  }
}
