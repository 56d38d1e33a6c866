import { randomBytes } from 'node:crypto';
import { type ChannelModel, connect } from 'amqplib';
import pg from 'pg';
import { eventExchange, newIssuerKeys } from '#libs/contracts';
import type { LeaseTiming } from '#libs/leases';
import type { Fleet, Kind, Service } from '../../apps/cluster/src/fleet.js';
import { seedRootPolicy, type Simulator, startSimulator } from '../../apps/simulator/src/index.js';
import { newFleet } from '../support/services.js';
import { eventually, type LeaseRow, quickTiming, usualWeather } from '../support/world.js';
import { amqpMethods, asWritten, Line } from './line.js';

/** The servers that a rig runs on; what is cut is its own lines to them. */
export interface Servers {
  databaseUrl: string;
  redisUrl: string;
  rabbitmqUrl: string;
}

/** What is killed. */
export type Victim = Extract<Kind, 'gateway' | 'issuer' | 'revoker'>;

const timing: LeaseTiming = {
  ...quickTiming,
  callerWaitMs: 6_000,
  marginMs: 500,
  claimMs: 1_500,
  // The last look is what a call is met by that arrives late; the points let it arrive after the first roll-back.
  tombstoneLooksMs: [300, 900, 2_500],
  syncManyMs: 15_000,
};

/** How long a lease of the mount `brief/` lasts, seconds. */
export const briefSeconds = 2;

/** One service of the fleet: killed and started again, it keeps its lines to broker and Redis. */
export class Slot {
  service!: Service;
  /** When the broker gave it something last, `performance.now()`. */
  deliveredAt = 0;

  constructor(
    private readonly fleet: Fleet,
    readonly kind: Victim,
    private readonly aws: string,
  ) {}

  broker!: Line;
  redis!: Line;

  async open({ rabbitmqUrl, redisUrl }: Servers): Promise<this> {
    this.broker = await Line.open(rabbitmqUrl, amqpMethods, (direction, text) => {
      if (direction === 'in' && text === 'deliver') this.deliveredAt = performance.now();
    });
    this.redis = await Line.open(redisUrl, asWritten);
    return this.start();
  }

  async start(): Promise<this> {
    const env = { RABBITMQ_URL: this.broker.url, REDIS_URL: this.redis.url, LEASEHOLD_AWS_ENDPOINT: this.aws };
    this.service = await this.fleet.start(this.kind, env).serves();
    await eventually(() => this.service.isReady(), 20_000);
    return this;
  }

  async kill(): Promise<void> {
    await this.service.end('SIGKILL');
  }

  async close(): Promise<void> {
    await this.broker?.close();
    await this.redis?.close();
  }
}

const policyDocument = JSON.stringify({
  Version: '2012-10-17',
  Statement: { Effect: 'Allow', Action: 'ec2:*', Resource: '*' },
});

/** The documented root policy, and what roles with groups need. */
function rootPolicy(): string {
  const { Version, Statement } = JSON.parse(seedRootPolicy('*')) as { Version: string; Statement: object[] };
  const groups = { Effect: 'Allow', Action: ['iam:AddUserToGroup', 'iam:RemoveUserFromGroup'], Resource: '*' };
  return JSON.stringify({ Version, Statement: [...Statement, groups] });
}

/** An answer over HTTP; status 0: the connection broke, and nobody knows. */
export interface Told {
  status: number;
  body: {
    lease_id?: string;
    lease_duration?: number;
    data?: { access_key: string; secret_key: string };
    errors?: string[];
  };
}

/**
 * Two gateways, two issuers and a revoker as processes over RabbitMQ, Redis and PostgreSQL, with a simulated AWS that lags.
 * Two mounts: `aws/`, whose leases last, and `brief/`, whose leases expire while one looks.
 */
export class Rig {
  readonly token = `test-${randomBytes(12).toString('hex')}`;
  /** Ids of the leases and names of the events that were told, as `name lease`. */
  readonly told = new Set<string>();
  readonly keys = newIssuerKeys();
  readonly namespace = `chaos-${randomBytes(6).toString('hex')}`;
  readonly slots: Slot[] = [];
  readonly timing = timing;
  simulator!: Simulator;
  database!: pg.Pool;
  private root!: { accessKeyId: string; secretAccessKey: string };
  private fleet!: Fleet;
  private ear!: ChannelModel;

  private constructor(readonly servers: Servers) {}

  static async start(servers: Servers): Promise<Rig> {
    const rig = new Rig(servers);
    try {
      await rig.open();
      return rig;
    } catch (error) {
      await rig.close();
      throw error;
    }
  }

  private async open(): Promise<void> {
    const { servers, keys, namespace } = this;
    this.simulator = await startSimulator({ faults: usualWeather });
    this.simulator.account().createGroup('readers');
    this.root = this.simulator.provisionRootIdentity({ userName: 'leasehold-root', policy: rootPolicy() });
    this.database = new pg.Pool({ connectionString: servers.databaseUrl, max: 3, application_name: 'chaos' });
    this.database.on('error', () => undefined);
    this.fleet = newFleet({
      ...servers,
      masterKey: randomBytes(32),
      timing,
      aws: { url: this.simulator.url, ...this.root },
      env: {
        LEASEHOLD_NAMESPACE: namespace,
        LEASEHOLD_ISSUER_KEY: keys.privateKey,
        LEASEHOLD_ISSUER_PUBLIC_KEY: keys.publicKey,
      },
    });
    await this.fleet.migrate({ LEASEHOLD_ROOT_TOKEN: this.token });
    await this.listen();
    const kinds = ['gateway', 'gateway', 'issuer', 'issuer', 'revoker'] as const;
    this.slots.push(...kinds.map((kind) => new Slot(this.fleet, kind, this.simulator.url)));
    await Promise.all(this.slots.map((slot) => slot.open(servers)));
    for (const mount of ['aws', 'brief']) await this.mount(mount);
    await this.must('PUT', 'brief/config/lease', { lease: `${briefSeconds}s`, lease_max: '1h' });
  }

  /** A mount with the roles of all points: one inline policy; and one of each kind of attachment. */
  async mount(path: string): Promise<void> {
    const { accessKeyId, secretAccessKey } = this.root;
    await this.must('POST', `sys/mounts/${path}`, { type: 'aws' });
    await this.must('PUT', `${path}/config/root`, {
      access_key: accessKeyId,
      secret_key: secretAccessKey,
      region: 'us-east-1',
    });
    const role = { credential_type: 'iam_user', policy_document: policyDocument };
    await this.must('PUT', `${path}/roles/kept`, role);
    await this.must('PUT', `${path}/roles/plain`, role);
    await this.must('PUT', `${path}/roles/wide`, {
      ...role,
      policy_arns: 'arn:aws:iam::aws:policy/AmazonEC2ReadOnlyAccess',
      iam_groups: 'readers',
    });
  }

  /** Writes the role with a pool, by any gateway that is there, and waits until all of that can be handed out. */
  async fillPool(size: number, body: object = {}): Promise<void> {
    await this.writePooled({ pool_size: size, ...body });
    await eventually(async () => {
      const { rows } = await this.database.query(
        `select 1 from leases l join roles r on r.mount_id = l.mount_id and r.name = l.role_name and r.version = l.role_version
         where r.name = 'pooled' and l.state = 'pooled' and l.pooled_at <= now() - $1 * interval '1 ms'`,
        [this.timing.pooledMinMs],
      );
      return rows.length === size;
    }, 30_000);
  }

  async takePoolAway(): Promise<void> {
    await this.writePooled({ pool_size: 0 });
  }

  private async writePooled(body: object): Promise<void> {
    await eventually(async () => {
      for (const gateway of this.of('gateway')) {
        const role = { credential_type: 'iam_user', policy_document: policyDocument, ...body };
        if ((await this.ask(gateway, 'PUT', 'aws/roles/pooled', role)).status === 204) return true;
      }
      return false;
    }, 20_000);
  }

  of(kind: Victim): Slot[] {
    return this.slots.filter((slot) => slot.kind === kind);
  }

  /** Asks one gateway once. */
  async ask(gateway: Slot, method: string, path: string, body?: object, headers: object = {}): Promise<Told> {
    try {
      const answer = await fetch(`${gateway.service.url}/v1/${path}`, {
        method,
        headers: { 'X-Vault-Token': this.token, ...headers },
        ...(body ? { body: JSON.stringify(body) } : {}),
      });
      const text = await answer.text();
      return { status: answer.status, body: text ? (JSON.parse(text) as Told['body']) : {} };
    } catch {
      return { status: 0, body: {} };
    }
  }

  private async must(method: string, path: string, body: object): Promise<void> {
    const { status, body: said } = await this.ask(this.of('gateway')[0]!, method, path, body);
    if (status !== 204) throw new Error(`${method} ${path} was answered ${status} ${JSON.stringify(said)}`);
  }

  async rows(): Promise<(LeaseRow & { created_at: Date })[]> {
    return (await this.database.query('select * from leases order by created_at, attempt')).rows;
  }

  /** Users in AWS that were made for leases. */
  users() {
    return this.simulator
      .account()
      .users()
      .filter((user) => user.name !== 'leasehold-root');
  }

  private async listen(): Promise<void> {
    this.ear = await connect(this.servers.rabbitmqUrl);
    this.ear.on('error', () => undefined);
    const channel = await this.ear.createChannel();
    const exchange = eventExchange(this.namespace);
    await channel.assertExchange(exchange, 'topic', { durable: true });
    const { queue } = await channel.assertQueue('', { exclusive: true });
    await channel.bindQueue(queue, exchange, '#');
    await channel.consume(
      queue,
      (message) => {
        const { name, leaseId } = JSON.parse(message!.content.toString()) as { name: string; leaseId: string };
        this.told.add(`${name} ${leaseId}`);
      },
      { noAck: true },
    );
  }

  async close(): Promise<void> {
    for (const slot of this.slots) slot.service?.signal('SIGCONT'); // one that stands still could not end
    await this.fleet?.close();
    await Promise.all(this.slots.map((slot) => slot.close()));
    await this.ear?.close();
    await this.simulator?.close();
    await this.database?.end();
  }
}
