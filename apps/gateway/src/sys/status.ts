import { createHash } from 'node:crypto';
import { Injectable, Logger } from '@nestjs/common';
import { parseMasterKey, Seal } from '#libs/access';
import { InvalidRequest, Unavailable } from '#libs/contracts';
import { EntityManager } from 'typeorm';
import { z } from 'zod';
import { type Answers, withBody, noContent } from '../api/answers.js';
import { type ApiPart, type ApiPath, type ApiRequest, operation } from '../api/api-path.js';
import { apiVersion as version } from '../api/api-version.js';
import { boolField, intField, stringField } from '../wire/fields.js';

const clusterName = 'leasehold';

const health = z.object({
  activecode: stringField().describe('Status of the answer when active; 200 when absent.'),
  standbyok: stringField().describe('Accepted for the sake of load balancers: there are no standbys.'),
  perfstandbyok: stringField().describe('As standbyok.'),
  standbycode: stringField().describe('As standbyok.'),
  sealedcode: stringField().describe('Status of the answer while sealed; 503 when absent.'),
  uninitcode: stringField().describe('Accepted: this server is always initialised.'),
  drsecondarycode: stringField().describe('As standbyok.'),
  performancestandbycode: stringField().describe('As standbyok.'),
});

const unseal = z.object({
  key: stringField().describe('The master key, in base64 or hexadecimal.'),
  reset: boolField().describe('Forgets the shares given so far: there is one, so there are none.'),
  migrate: boolField().describe('Accepted: there is one kind of seal.'),
});

const init = z.object({
  secret_shares: intField().describe('How many shares the key would be split into.'),
  secret_threshold: intField().describe('How many of them would open it.'),
});

const codes = [
  'activecode',
  'standbycode',
  'sealedcode',
  'uninitcode',
  'drsecondarycode',
  'performancestandbycode',
] as const;

const none = z.object({});

const healthAnswers: Answers = {
  // Whichever status was asked for.
  any: {
    kind: 'bare',
    schema: z.strictObject({
      initialized: z.boolean(),
      sealed: z.boolean(),
      standby: z.boolean(),
      performance_standby: z.boolean(),
      replication_performance_mode: z.string(),
      replication_dr_mode: z.string(),
      server_time_utc: z.int(),
      version: z.string(),
      cluster_name: z.string().optional(),
      cluster_id: z.string().optional(),
    }),
  },
};

const sealShown = z.strictObject({
  type: z.string(),
  initialized: z.boolean(),
  sealed: z.boolean(),
  t: z.int(),
  n: z.int(),
  progress: z.int(),
  nonce: z.string(),
  version: z.string(),
  build_date: z.string(),
  migration: z.boolean(),
  // Both absent while sealed.
  cluster_name: z.string().optional(),
  cluster_id: z.string().optional(),
  recovery_seal: z.boolean(),
  storage_type: z.string(),
});

const leader = {
  ha_enabled: false,
  is_self: false,
  active_time: '0001-01-01T00:00:00Z',
  leader_address: '',
  leader_cluster_address: '',
  performance_standby: false,
  performance_standby_last_remote_wal: 0,
};
const leaderShown = z.strictObject({
  ha_enabled: z.boolean(),
  is_self: z.boolean(),
  active_time: z.string(),
  leader_address: z.string(),
  leader_cluster_address: z.string(),
  performance_standby: z.boolean(),
  performance_standby_last_remote_wal: z.int(),
});

/** What clients ask before they have a token (contract.md 3.6). */
@Injectable()
export class Status implements ApiPart<ApiRequest<unknown>> {
  private readonly logger = new Logger('Seal');
  private clusterId: string | null = null;

  constructor(
    private readonly manager: EntityManager,
    private readonly seal: Seal,
  ) {}

  paths(): ApiPath<ApiRequest<unknown>>[] {
    return [
      {
        pattern: 'sys/health',
        synopsis: 'Whether this server can serve.',
        description:
          'Answers 200 while the database answers, and 503 while the system is sealed. The codes asked for as query\n' +
          'parameters are used.',
        operations: { read: operation(health, ({ fields }) => this.health(fields), healthAnswers) },
        answersHead: true,
        answersSealed: true,
      },
      {
        pattern: 'sys/seal-status',
        synopsis: 'Whether the system is sealed.',
        description: 'Sealed, it serves nobody, at whichever gateway or issuer, until it is unsealed.',
        operations: { read: operation(none, async () => ({ bare: await this.sealStatus() }), withBody(sealShown)) },
        answersSealed: true,
      },
      {
        pattern: 'sys/unseal',
        synopsis: 'Unseal the system.',
        description: 'Takes the master key, which is its one share.',
        operations: { update: operation(unseal, ({ id, fields }) => this.unseal(id, fields), withBody(sealShown)) },
        answersSealed: true,
      },
      {
        pattern: 'sys/init',
        synopsis: 'Whether the server is initialised.',
        description: 'It always is: the first start does it.',
        operations: {
          read: operation(
            none,
            async () => ({ bare: { initialized: true } }),
            withBody(z.strictObject({ initialized: z.boolean() })),
          ),
          update: operation(init, async ({ fields }) => refuseToInit(fields), noContent),
        },
        answersSealed: true,
      },
      {
        pattern: 'sys/leader',
        synopsis: 'Who leads.',
        description: 'Nobody does: every gateway is active.',
        operations: {
          read: operation(none, async () => ({ bare: leader }), withBody(leaderShown)),
        },
        answersSealed: true,
      },
    ];
  }

  private async health(fields: z.output<typeof health>) {
    for (const name of codes) {
      const code = fields[name];
      if (code !== undefined && !/^[2-5]\d\d$/.test(code)) {
        throw new InvalidRequest(`invalid ${name}: it must be the status of an HTTP answer`);
      }
    }
    const sealed = await this.isSealed();
    return {
      status: Number(sealed ? (fields.sealedcode ?? 503) : (fields.activecode ?? 200)),
      bare: {
        initialized: true,
        sealed,
        standby: sealed,
        performance_standby: false,
        replication_performance_mode: sealed ? 'unknown' : 'disabled',
        replication_dr_mode: sealed ? 'unknown' : 'disabled',
        server_time_utc: await this.serverTime(),
        version,
        ...(await this.nameUnless(sealed)),
      },
    };
  }

  private async sealStatus() {
    const sealed = await this.isSealed();
    return {
      type: 'shamir',
      initialized: true,
      sealed,
      t: 1,
      n: 1,
      progress: 0,
      nonce: '',
      version,
      build_date: '',
      migration: false,
      ...(await this.nameUnless(sealed)),
      recovery_seal: false,
      storage_type: 'postgresql',
    };
  }

  /** As Vault's: once it is unsealed, any text that could be a key is as good as another. */
  private async unseal(requestId: string, { key, reset }: z.output<typeof unseal>) {
    if (reset) {
      if (!(await this.seal.isSealed())) throw new InvalidRequest('vault is unsealed');
      return { bare: await this.sealStatus() };
    }
    if (!key) throw new InvalidRequest("'key' must be specified in request body as JSON, or 'reset' set to true");
    if (!/^([0-9a-f]{2})+$|^[\w+/-]+={0,2}$/i.test(key)) {
      throw new InvalidRequest("'key' must be a valid hex or base64 string");
    }
    if (await this.seal.isSealed()) {
      if (!(await this.opens(key))) throw new InvalidRequest('Unseal failed, invalid key');
      this.logger.warn({ msg: 'the system is unsealed', requestId });
    }
    return { bare: await this.sealStatus() };
  }

  private async opens(key: string): Promise<boolean> {
    let masterKey;
    try {
      masterKey = parseMasterKey(key);
    } catch {
      return false;
    }
    return this.seal.unsealWith(masterKey);
  }

  private isSealed(): Promise<boolean> {
    return this.seal.isSealed().catch((cause: unknown) => {
      throw new Unavailable('The database does not answer.', { cause });
    });
  }

  /** A sealed server does not say which cluster it is of (contract.md 3.6). */
  private async nameUnless(sealed: boolean) {
    return sealed ? {} : { cluster_name: clusterName, cluster_id: await this.cluster() };
  }

  /** Seconds since 1970 by Postgres's clock, which is the one that decides. */
  private async serverTime(): Promise<number> {
    const [row] = (await this.manager
      .query(`select extract(epoch from now())::bigint::text as now`)
      .catch((cause: unknown) => {
        throw new Unavailable('The database does not answer.', { cause });
      })) as { now: string }[];
    return Number(row!.now);
  }

  /** The same for every gateway on one database: made from the id of the key that never changes, which is no secret. */
  private async cluster(): Promise<string> {
    if (this.clusterId) return this.clusterId;
    const [key] = (await this.manager.query(`select id from keyring where purpose = 'token_hash'`)) as {
      id: string;
    }[];
    const digest = createHash('sha256').update(`cluster ${key!.id}`).digest('hex');
    this.clusterId = digest.replace(/^(.{8})(.{4})(.{4})(.{4})(.{12}).*$/, '$1-$2-$3-$4-$5');
    return this.clusterId;
  }
}

/**
 * Vault's checks of the figures, then what there is to say: the first start has done it.
 * @throws InvalidRequest in any case.
 */
function refuseToInit({ secret_shares: shares = 0, secret_threshold: threshold = 0 }: z.output<typeof init>): never {
  const wrong =
    (shares < 1 && 'shares must be at least one') ||
    (threshold < 1 && 'threshold must be at least one') ||
    (shares > 1 && threshold === 1 && 'threshold must be greater than one for multiple shares') ||
    (shares > 255 && 'shares must be less than 256') ||
    (threshold > shares && 'threshold cannot be larger than shares');
  throw new InvalidRequest(wrong ? `invalid seal configuration: ${wrong}` : 'Vault is already initialized');
}
