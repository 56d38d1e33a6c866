import { Injectable, Logger } from '@nestjs/common';
import { assumeRole, federationToken, sessionToken, type StsCredential } from '#libs/aws';
import type { CredentialType, IssueLeaseReply } from '#libs/contracts';
import { Issuing } from '#libs/leases';
import {
  askedSessionName,
  chooseIamRoleArn,
  compileTemplate,
  mfaOf,
  type RoleDefinition,
  stsTtl,
  type StsWish,
  systemMaxTtlSeconds,
  type UsernameType,
} from '#libs/roles';
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

  async execute(order: Order, credentialType: StsType): Promise<IssueLeaseReply> {
    const { command, caller, mount, role } = order;
    const wish = {
      ttlSeconds: command.ttlSeconds,
      iamRoleArn: command.roleArn,
      sessionName: command.roleSessionName,
      mfaCode: command.mfaCode,
    };
    // What a batch token has asked for ends with it at the latest (contract.md 4.2): AWS takes nothing back, so it is asked for
    // no more. It refuses less than a quarter of an hour, and says so.
    const mountMax = mount.maxLeaseTtlSeconds || systemMaxTtlSeconds;
    const { seconds, cut } = stsTtl(role.definition, wish, mountMax, caller.longestLeaseMs());
    const credential = await fetchers[credentialType](order, wish, seconds);
    const opening = openingOf(order);
    const { accessKeyId, secretAccessKey, sessionToken: token, arn, expiration: expiresAt } = credential;
    const made: Made = {
      leaseId: opening.leaseId,
      credentialType,
      renewable: false,
      acceptRequired: false,
      credential: { accessKeyId, secretAccessKey, sessionToken: token, arn },
      ttlCut: cut,
    };
    const kept = await order.seal?.(made);
    const ttlMs = await this.register(() =>
      this.issuing.openSts({ ...opening, credentialType, accessKeyId, expiresAt }, kept),
    );
    this.logger.log({
      msg: 'credential issued',
      leaseId: opening.leaseId,
      requestId: command.requestId,
      accessKeyIdEnd: accessKeyId.slice(-4),
    });
    return replyOf(made, ttlMs);
  }
}

type StsType = Exclude<CredentialType, 'iam_user'>;
type Fetched = StsCredential & { arn?: string };

/** How each type is asked for, for how many seconds. */
const fetchers: Record<StsType, (order: Order, wish: StsWish, durationSeconds: number) => Promise<Fetched>> = {
  assumed_role: (order, wish, durationSeconds) => {
    const { definition, name } = order.role;
    const request = {
      roleArn: chooseIamRoleArn(definition, name, wish),
      sessionName: askedSessionName(wish) ?? nameFor(order, 'IAM'),
      durationSeconds,
      ...policiesOf(definition),
      sessionTags: definition.sessionTags ?? {},
      externalId: definition.externalId || undefined,
    };
    return assumeRole(order.account, request, order.fence);
  },
  federation_token: (order, _wish, durationSeconds) => {
    const request = { name: nameFor(order, 'STS'), durationSeconds, ...policiesOf(order.role.definition) };
    return federationToken(order.account, request, order.fence);
  },
  session_token: (order, wish, durationSeconds) =>
    sessionToken(order.account, { durationSeconds, mfa: mfaOf(order.role.definition, wish) }, order.fence),
};

function nameFor({ root, caller, role }: Order, type: UsernameType): string {
  return compileTemplate(root.settings.usernameTemplate).render({
    type,
    displayName: caller.token.displayName,
    policyName: role.name,
    now: new Date(),
  });
}

function policiesOf({ policyDocument, policyArns, iamGroups }: RoleDefinition) {
  return { policyDocument: policyDocument || undefined, policyArns: policyArns ?? [], groups: iamGroups ?? [] };
}
