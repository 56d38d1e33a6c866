import type { AwsSurroundings } from '#libs/aws';
import {
  type AccessKeyPair,
  seedAssumeRolePolicy,
  seedFederationPolicy,
  seedFurtherPolicy,
  seedRootPolicy,
  seedRotationPolicy,
  seedTrustPolicy,
  type Simulator,
} from '../../simulator/src/index.js';

/** What the simulator's account holds for a first look at Leasehold. */
export interface SimulatedAccount {
  /** A user with the rights of docs/coming-from-vault.md, "IAM rights". */
  rootKey: AccessKeyPair;
  /** A role that it may assume. */
  iamRoleArn: string;
  /** A user that is there already, for a static role. */
  staticUserName: string;
  surroundings: AwsSurroundings;
}

const staticUserName = 'legacy-app';

/**
 * Provisions the account; the same again after a restart. A mount that names no endpoint gets the simulator; one that
 * names no keys has those of a user of its own, so that rotating the root key of another takes nothing from it; and
 * whatever AWS credentials lie about on the machine are ignored (docs/decisions/0005).
 */
export function provisionAccount(simulator: Simulator): SimulatedAccount {
  const account = simulator.account();
  const iamRole = 'RoleNameToAssume';
  const iamRoleArn = account.arn('role', '/', iamRole);
  const [rootKey, ambientKey] = ['leasehold-root', 'leasehold-ambient'].map((userName) => {
    const key = simulator.provisionRootIdentity({ userName, policy: seedRootPolicy(account.id) });
    const user = account.existingUser(userName);
    account.putUserPolicy(user, 'federate', seedFederationPolicy());
    account.putUserPolicy(user, 'assume', seedAssumeRolePolicy(iamRoleArn));
    account.putUserPolicy(user, 'rotate', seedRotationPolicy());
    account.putUserPolicy(user, 'further', seedFurtherPolicy(account.id));
    return key;
  }) as [AccessKeyPair, AccessKeyPair];
  if (!account.role(iamRole))
    account.createRole(
      iamRole,
      seedTrustPolicy(`arn:aws:iam::${account.id}:root`, ['sts:AssumeRole', 'sts:TagSession']),
    );
  if (!account.groups().some(({ name }) => name === 'developers'))
    account.createGroup('developers', { policies: { ec2: seedFederationPolicy() } });
  if (!account.user(staticUserName)) account.createUser(staticUserName);
  return {
    rootKey,
    iamRoleArn,
    staticUserName,
    surroundings: {
      ambientCredentials: () => () => Promise.resolve(ambientKey),
      ambientRegion: 'us-east-1',
      defaultEndpoint: simulator.url,
    },
  };
}
