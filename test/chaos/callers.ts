import { randomUUID } from 'node:crypto';
import { GetCallerIdentityCommand, STSClient } from '@aws-sdk/client-sts';
import { LeaseholdClient } from '#libs/client';
import { eventually } from '../support/world.js';
import type { Rig, Slot } from './rig.js';

/** A credential that a caller was given, and what it has done with it since. */
export interface Held {
  /** Names what was asked for: a caller that asks again for the same thing keeps the name. */
  request: string;
  leaseId: string;
  keys: { access_key: string; secret_key: string };
  /**
   * What must become of it: `kept` for its time; `gone`, since its revocation was answered or its time is over; `either`,
   * while a revocation was asked for and not answered.
   */
  must: 'kept' | 'gone' | 'either';
  /** Until when at least it was lent or renewed, milliseconds of this process's clock. */
  until: number;
}

/** What all callers of one run were told, and so what must be true. */
export class Ledger {
  readonly held: Held[] = [];
  /** Questions whose answer broke off: a credential may have been recorded as handed over, and its secret is nowhere. */
  cut = 0;
  /** Leases whose revocation was seen stored, whether anybody was told or not. */
  readonly stored = new Set<string>();
  /** What was wrong at the moment when it was said. */
  readonly wrong: string[] = [];

  note(request: string, leaseId: string, seconds: number, keys: Held['keys']): Held {
    // Seconds are rounded on the way.
    const held: Held = { request, leaseId, keys, must: 'kept', until: Date.now() + seconds * 1000 - 1_500 };
    this.held.push(held);
    return held;
  }
}

/** Callers as they are: they ask, use, renew and give back, and note what they were told. */
export class Callers {
  constructor(
    private readonly rig: Rig,
    readonly ledger: Ledger,
    private readonly gateway: () => Slot,
  ) {}

  /** Asks once for a credential of a role, such as `aws/creds/plain`. */
  async ask(path: string, request: string = randomUUID()): Promise<Held | null> {
    const { status, body } = await this.rig.ask(this.gateway(), 'GET', path);
    if (status === 0) this.ledger.cut += 1;
    if (status !== 200) return null;
    return this.ledger.note(request, body.lease_id!, body.lease_duration!, body.data!);
  }

  /**
   * Asks with an idempotency key, again and again at any gateway that is there, until there is an answer: then this caller has
   * a credential, and it is the only one.
   */
  async askOnce(path: string): Promise<Held> {
    const key = randomUUID();
    const answered = async () => {
      for (const gateway of [this.gateway(), ...this.rig.of('gateway')]) {
        const told = await this.rig.ask(gateway, 'GET', path, undefined, { 'Idempotency-Key': key });
        if (told.status === 200) return told.body;
        if (told.status >= 400 && told.status < 500) throw new Error(`a retry was answered ${told.status}`);
      }
      return null;
    };
    const body = await eventually(answered, 30_000);
    return this.ledger.note(key, body.lease_id!, body.lease_duration!, body.data!);
  }

  /** Asks over AMQP, as internal services do; an error means that nothing was handed on. */
  async askOverAmqp(mount: string, role: string): Promise<Held | null> {
    return this.overAmqp(async (client) => {
      const { leaseId, leaseDuration, credential } = await client.issue({ mount, role });
      const keys = { access_key: credential.accessKeyId, secret_key: credential.secretAccessKey };
      return this.ledger.note(randomUUID(), leaseId, leaseDuration, keys);
    });
  }

  /** The same with an idempotency key, until it has one. */
  async askOnceOverAmqp(mount: string, role: string): Promise<Held> {
    const idempotencyKey = randomUUID();
    const ask = () =>
      this.overAmqp(async (client) => {
        const { leaseId, leaseDuration, credential } = await client.issue({ mount, role, idempotencyKey });
        const keys = { access_key: credential.accessKeyId, secret_key: credential.secretAccessKey };
        return this.ledger.note(idempotencyKey, leaseId, leaseDuration, keys);
      });
    return eventually(ask, 30_000);
  }

  /** What the client's call gives, or null when it fails. */
  private async overAmqp<T>(use: (client: LeaseholdClient) => Promise<T>): Promise<T | null> {
    const { rig } = this;
    const client = new LeaseholdClient({
      rabbitmqUrl: rig.servers.rabbitmqUrl,
      namespace: rig.namespace,
      issuerPublicKey: rig.keys.publicKey,
      token: rig.token,
      waitMs: rig.timing.callerWaitMs,
    });
    try {
      return await use(client);
    } catch {
      return null;
    } finally {
      await client.close();
    }
  }

  /** Asks until it has one, each time anew; a caller that has waited in vain does. */
  async lend(path: string): Promise<Held> {
    return eventually(() => this.ask(path), 20_000);
  }

  /** Calls AWS with the key, once AWS knows it. */
  async use(held: Held): Promise<void> {
    await eventually(async () => held.must !== 'kept' || (await this.isKnown(held)), 5_000).catch(() => {
      this.ledger.wrong.push(`a key that a caller holds does not work: ${held.leaseId}`);
    });
  }

  private async isKnown({ keys }: Held): Promise<boolean> {
    const credentials = { accessKeyId: keys.access_key, secretAccessKey: keys.secret_key };
    const endpoint = this.rig.simulator.url;
    const sts = new STSClient({ endpoint, region: 'us-east-1', maxAttempts: 1, credentials });
    return sts.send(new GetCallerIdentityCommand({})).then(
      () => true,
      () => false,
    );
  }

  /** An answer that never came may stand for a shorter time than before. */
  async renew(held: Held, seconds: number): Promise<number> {
    this.unsure(held, seconds);
    const { status, body } = await this.rig.ask(this.gateway(), 'PUT', 'sys/leases/renew', {
      lease_id: held.leaseId,
      increment: seconds,
    });
    if (status === 200) held.until = Date.now() + body.lease_duration! * 1000 - 1_500;
    return status;
  }

  async renewOverAmqp(held: Held, seconds: number): Promise<void> {
    this.unsure(held, seconds);
    const renewed = await this.overAmqp((client) => client.renew(held.leaseId, seconds));
    if (renewed) held.until = Date.now() + renewed.leaseDuration * 1000 - 1_500;
  }

  private unsure(held: Held, seconds: number): void {
    held.until = Math.min(held.until, Date.now() + seconds * 1000 - 1_500);
  }

  async revokeOverAmqp(held: Held): Promise<void> {
    held.must = 'either';
    const told = await this.overAmqp(async (client) => {
      await client.revoke(held.leaseId);
      return true;
    });
    if (told) held.must = 'gone';
  }

  /** `sync`: an answer says that its key is gone. */
  async revoke(held: Held, sync: boolean): Promise<number> {
    held.must = 'either';
    const body = { lease_id: held.leaseId, sync };
    const { status } = await this.rig.ask(this.gateway(), 'PUT', 'sys/leases/revoke', body);
    if (status === 204 || status === 202) held.must = 'gone';
    if (status === 204) {
      const keys = this.rig.users().flatMap((user) => user.accessKeys.map((key) => key.id));
      if (keys.includes(held.keys.access_key)) this.ledger.wrong.push(`revoked, it was answered: ${held.leaseId}`);
    }
    return status;
  }
}
