import { Injectable, Logger } from '@nestjs/common';
import type { Caller } from '#libs/access';
import { assumeRole, federationToken, type StsCredential } from '#libs/aws';
import type { IssueLeaseReply } from '#libs/contracts';
import { Issuing } from '#libs/leases';
import { askedSessionName, chooseIamRoleArn, compileTemplate, stsTtlSeconds, systemMaxTtlSeconds } from '#libs/roles';
import { Metrics, type Span } from '#libs/runtime';
import { type Made, type Order, openingOf, replyOf } from './order.js';

/** Fetches a credential of STS: it ends by itself, so it needs no intent and no acceptance. */
@Injectable()
export class IssueSts {
  private readonly logger = new Logger(IssueSts.name);

  private readonly register: Span;

  constructor(
    private readonly issuing: Issuing,
    metrics: Metrics,
  ) {
    this.register = metrics.span('vault.expire.register', 'Storing what was made as a lease.');
  }

  async execute(order: Order, credentialType: 'assumed_role' | 'federation_token'): Promise<IssueLeaseReply> {
    const { credential, arn } = await (credentialType === 'assumed_role' ? this.assume(order) : this.federate(order));
    const opening = openingOf(order);
    const { accessKeyId, expiration: expiresAt } = credential;
    const made: Made = {
      leaseId: opening.leaseId,
      credentialType,
      renewable: false,
      acceptRequired: false,
      credential: {
        accessKeyId,
        secretAccessKey: credential.secretAccessKey,
        sessionToken: credential.sessionToken,
        arn,
      },
    };
    const kept = await order.seal?.(made);
    const ttlMs = await this.register(() =>
      this.issuing.openSts({ ...opening, credentialType, accessKeyId, expiresAt }, kept),
    );
    this.logger.log({
      msg: 'credential issued',
      leaseId: opening.leaseId,
      requestId: order.command.requestId,
      accessKeyIdEnd: credential.accessKeyId.slice(-4),
    });
    return replyOf(made, ttlMs);
  }

  private async assume({ command, mount, role, root, caller, account, fence }: Order): Promise<Fetched> {
    const { definition } = role;
    const wish = { ttlSeconds: command.ttlSeconds, iamRoleArn: command.roleArn, sessionName: command.roleSessionName };
    const sessionName =
      askedSessionName(wish) ??
      compileTemplate(root.settings.usernameTemplate).render({
        type: 'IAM',
        displayName: caller.token.displayName,
        policyName: role.name,
        now: new Date(),
      });
    const credential = await assumeRole(
      account,
      {
        roleArn: chooseIamRoleArn(definition, role.name, wish),
        sessionName,
        durationSeconds: atMost(
          caller,
          stsTtlSeconds(definition, wish, mount.maxLeaseTtlSeconds || systemMaxTtlSeconds),
        ),
        policyDocument: definition.policyDocument || undefined,
        policyArns: definition.policyArns ?? [],
        groups: definition.iamGroups ?? [],
        sessionTags: definition.sessionTags ?? {},
        externalId: definition.externalId || undefined,
      },
      fence,
    );
    return { credential, arn: credential.arn };
  }

  private async federate({ command, mount, role, root, caller, account, fence }: Order): Promise<Fetched> {
    const { definition } = role;
    const credential = await federationToken(
      account,
      {
        name: compileTemplate(root.settings.usernameTemplate).render({
          type: 'STS',
          displayName: caller.token.displayName,
          policyName: role.name,
          now: new Date(),
        }),
        durationSeconds: atMost(
          caller,
          stsTtlSeconds(
            definition,
            { ttlSeconds: command.ttlSeconds },
            mount.maxLeaseTtlSeconds || systemMaxTtlSeconds,
          ),
        ),
        policyDocument: definition.policyDocument || undefined,
        policyArns: definition.policyArns ?? [],
        groups: definition.iamGroups ?? [],
      },
      fence,
    );
    return { credential };
  }
}

/**
 * What a batch token has asked for ends with it at the latest (contract.md 4.2): AWS takes nothing back, so it is asked for no
 * more. It refuses less than a quarter of an hour, and says so.
 */
function atMost(caller: Caller, seconds: number): number {
  return Math.min(seconds, Math.floor(caller.longestLeaseMs() / 1000));
}

interface Fetched {
  credential: StsCredential;
  arn?: string;
}
