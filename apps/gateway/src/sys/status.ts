import { createHash } from 'node:crypto';
import { Injectable } from '@nestjs/common';
import { InvalidRequest, Unavailable } from '#libs/contracts';
import { EntityManager } from 'typeorm';
import { z } from 'zod';
import { type Answers, withBody, noContent } from '../api/answers.js';
import { type ApiPart, type ApiPath, type ApiRequest, operation } from '../api/api-path.js';
import { apiVersion as version } from '../api/api-version.js';
import { stringField } from '../wire/fields.js';

const clusterName = 'leasehold';

const health = z.object({
  activecode: stringField().describe('Status of the answer when active; 200 when absent.'),
  standbyok: stringField().describe('Accepted for the sake of load balancers: there are no standbys.'),
  perfstandbyok: stringField().describe('As standbyok.'),
  standbycode: stringField().describe('As standbyok.'),
  sealedcode: stringField().describe('Accepted: this server is never sealed.'),
  uninitcode: stringField().describe('Accepted: this server is always initialised.'),
  drsecondarycode: stringField().describe('As standbyok.'),
  performancestandbycode: stringField().describe('As standbyok.'),
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
      cluster_name: z.string(),
      cluster_id: z.string(),
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
  cluster_name: z.string(),
  cluster_id: z.string(),
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
  private clusterId: string | null = null;

  constructor(private readonly manager: EntityManager) {}

  paths(): ApiPath<ApiRequest<unknown>>[] {
    return [
      {
        pattern: 'sys/health',
        synopsis: 'Whether this server can serve.',
        description: 'Answers 200 while the database answers. The codes asked for as query parameters are used.',
        operations: { read: operation(health, ({ fields }) => this.health(fields), healthAnswers) },
        answersHead: true,
      },
      {
        pattern: 'sys/seal-status',
        synopsis: 'Whether the server is sealed.',
        description: 'It never is: its keys are opened at the start, or it does not start.',
        operations: { read: operation(none, async () => ({ bare: await this.sealStatus() }), withBody(sealShown)) },
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
          update: operation(none, () => Promise.reject(new InvalidRequest('Vault is already initialized')), noContent),
        },
      },
      {
        pattern: 'sys/leader',
        synopsis: 'Who leads.',
        description: 'Nobody does: every gateway is active.',
        operations: {
          read: operation(none, async () => ({ bare: leader }), withBody(leaderShown)),
        },
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
    return {
      status: Number(fields.activecode ?? 200),
      bare: {
        initialized: true,
        sealed: false,
        standby: false,
        performance_standby: false,
        replication_performance_mode: 'disabled',
        replication_dr_mode: 'disabled',
        server_time_utc: await this.serverTime(),
        version,
        cluster_name: clusterName,
        cluster_id: await this.cluster(),
      },
    };
  }

  private async sealStatus() {
    return {
      type: 'shamir',
      initialized: true,
      sealed: false,
      t: 1,
      n: 1,
      progress: 0,
      nonce: '',
      version,
      build_date: '',
      migration: false,
      cluster_name: clusterName,
      cluster_id: await this.cluster(),
      recovery_seal: false,
      storage_type: 'postgresql',
    };
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

  /** The same for every gateway on one database: made from its first key's id, which is no secret. */
  private async cluster(): Promise<string> {
    if (this.clusterId) return this.clusterId;
    const [key] = (await this.manager.query(`select id from keyring order by created_at, id limit 1`)) as {
      id: string;
    }[];
    const digest = createHash('sha256').update(`cluster ${key!.id}`).digest('hex');
    this.clusterId = digest.replace(/^(.{8})(.{4})(.{4})(.{4})(.{12}).*$/, '$1-$2-$3-$4-$5');
    return this.clusterId;
  }
}
