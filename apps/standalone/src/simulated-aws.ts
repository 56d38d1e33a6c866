import type { AwsSurroundings } from '#libs/aws';
import {
  type AccessKeyPair,
  seedAssumeRolePolicy,
  seedFederationPolicy,
  seedRootPolicy,
  seedTrustPolicy,
  type Simulator,
} from '../../simulator/src/index.js';

/** What the simulator's account holds for a first look at Leasehold. */
export interface SimulatedAccount {
  /** A user with exactly the rights that the engine's documentation asks for. */
  rootKey: AccessKeyPair;
  /** A role that it may assume. */
  iamRoleArn: string;
  surroundings: AwsSurroundings;
}

/**
 * Provisions the account; the same again after a restart. A mount that names no endpoint gets the simulator, and
 * whatever AWS credentials lie about on the machine are ignored (docs/decisions/0005).
 */
export function provisionAccount(simulator: Simulator): SimulatedAccount {
  const account = simulator.account();
  const userName = 'leasehold-root';
  const rootKey = simulator.provisionRootIdentity({ userName, policy: seedRootPolicy(account.id) });
  const user = account.existingUser(userName);
  const iamRole = 'RoleNameToAssume';
  const iamRoleArn = account.arn('role', '/', iamRole);
  if (!account.role(iamRole)) account.createRole(iamRole, seedTrustPolicy(account.arn('user', '/', userName)));
  account.putUserPolicy(user, 'federate', seedFederationPolicy());
  account.putUserPolicy(user, 'assume', seedAssumeRolePolicy(iamRoleArn));
  return {
    rootKey,
    iamRoleArn,
    surroundings: {
      ambientCredentials: () => () => Promise.resolve(rootKey),
      ambientRegion: 'us-east-1',
      defaultEndpoint: simulator.url,
    },
  };
}
