import { randomBytes, randomUUID } from 'node:crypto';
import { Logger } from '@nestjs/common';
import { LeaseholdClient, type LeaseholdClientOptions } from '#libs/client';
import { commandQueues, issueLease, type IssueLeaseReply, newIssuerKeys, parseIssuerPublicKey } from '#libs/contracts';
import { CommandClient } from '#libs/runtime';
import { firstValueFrom } from 'rxjs';
import type { Fleet } from '../../apps/cluster/src/fleet.js';
import { BrokerOwner } from './broker-owner.js';
import { type Lent, policyDocument, writeRole } from './lease-life.js';
import { testServers } from './services.js';
import type { World } from './world.js';
import { worldOfServices } from './world-of-services.js';

export const prefetch = 4;
/** Long enough for a busy machine; what is to be waited out says its own. */
export const waitMs = 10_000;
export const role = 'nobody-reads-this-role';
export const keys = newIssuerKeys();
export const publicKey = parseIssuerPublicKey(keys.publicKey);
export const namespace = `test-${randomBytes(6).toString('hex')}`;
export const { issues: queue, held: heldQueue } = commandQueues(namespace);

const everythingAllowed = JSON.stringify({
  Version: '2012-10-17',
  Statement: { Effect: 'Allow', Action: '*', Resource: '*' },
});

type Given = Pick<IssueLeaseReply, 'leaseId' | 'credential'>;

/** A gateway, two issuers and a revoker that are asked over the broker, and who owns that. */
export class AmqpWorld {
  readonly url = testServers().rabbitmqUrl;
  world!: World;
  fleet!: Fleet;
  owner!: BrokerOwner;
  /** Closed after each test, the last one first. */
  readonly open: { close(): Promise<void> }[] = [];
  private issuers!: CommandClient;

  async start(): Promise<void> {
    Logger.overrideLogger(false);
    const options = { weather: {}, timing: { handOverMs: 2_500, pooledMinMs: 1 }, rootPolicy: () => everythingAllowed };
    const env = {
      LEASEHOLD_NAMESPACE: namespace,
      LEASEHOLD_ISSUER_KEY: keys.privateKey,
      LEASEHOLD_ISSUER_PUBLIC_KEY: keys.publicKey,
      LEASEHOLD_PREFETCH: String(prefetch),
    };
    const { world, fleet } = await worldOfServices(options, { env });
    Object.assign(this, { world, fleet });
    await world.mount();
    await writeRole(world, role);
    await world.mount('brief');
    await world.http.must(204, 'PUT', 'brief/config/lease', { lease: '3s', lease_max: '60s' });
    await world.http.must(204, 'PUT', 'brief/roles/deploy', {
      credential_type: 'iam_user',
      policy_document: policyDocument,
    });
    this.owner = await BrokerOwner.between(this.url, `${namespace}-tapped`, namespace);
    this.issuers = new CommandClient({ broker: { url: this.url, namespace }, publicKey });
  }

  async close(): Promise<void> {
    await this.issuers?.close();
    await this.world?.close();
    for (const each of [queue, heldQueue]) await this.owner?.delete(each);
    await this.owner?.close();
  }

  /** After each test. */
  async tidy(): Promise<void> {
    this.world.simulator.faults.clear();
    this.owner.meddle();
    for (const each of this.open.splice(0).toReversed()) await each.close();
  }

  readonly client = (options: Partial<LeaseholdClientOptions> = {}): LeaseholdClient => {
    const made = new LeaseholdClient({
      rabbitmqUrl: this.url,
      namespace,
      issuerPublicKey: keys.publicKey,
      token: this.world.options.rootToken,
      waitMs,
      ...options,
    });
    this.open.push(made);
    return made;
  };

  /** A client whose every byte goes through the hands of the broker's owner. */
  readonly tapped = (options: Partial<LeaseholdClientOptions> = {}) =>
    this.client({ namespace: `${namespace}-tapped`, ...options });

  readonly issue = (by: LeaseholdClient) => by.issue({ mount: 'aws', role });

  readonly heldAs = ({ leaseId, credential }: Given): Lent => ({
    leaseId,
    keys: {
      access_key: credential.accessKeyId,
      secret_key: credential.secretAccessKey,
      security_token: credential.sessionToken,
    },
  });

  readonly whoIs = (lent: Given) => this.world.whoIs(this.heldAs(lent).keys);

  /** One command, without what the client library does around it. */
  readonly ask = <Reply>(pattern: string, body: object): Promise<Reply> => {
    const command = { id: randomUUID(), waitMs, requestId: 'r', token: this.world.options.rootToken, ...body };
    return firstValueFrom(this.issuers.send<Reply>(pattern, command));
  };

  readonly askIssue = (body: object = {}) =>
    this.ask<IssueLeaseReply>(issueLease.pattern, { mount: 'aws/', role, door: 'creds', ...body });
}
