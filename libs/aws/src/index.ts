export {
  ambientCredentials,
  ambientRegion,
  type AwsCredentials,
  type CredentialProvider,
} from './ambient-credentials.js';
export { assumeRole, type AssumeRoleRequest } from './assumed-role.js';
export {
  AwsAccount,
  AwsAccounts,
  type AwsCall,
  type AwsSurroundings,
  type Budget,
  type CallerIdentity,
  type OwnIdentity,
  type RootSettings,
} from './aws-account.js';
export { awsEnv, surroundingsOf } from './aws.env.js';
export { observeCalls } from './aws-figures.js';
export { AmbiguousAccessKey, AwsRefused, isUserQuotaMet, type Made, madeBy } from './aws-errors.js';
export { federationToken, type FederationTokenRequest } from './federation-token.js';
export { Fence } from './fence.js';
export {
  createIamUser,
  destroyIamUser,
  followAccessKey,
  type IamUserPlan,
  type MadeIamUser,
  type IamUserRecord,
} from './iam-user.js';
export { sessionToken } from './session-token.js';
export { keyAcceptance } from './key-acceptance.js';
export type { StsCredential } from './sts-credential.js';
export {
  type AccessKeyPair,
  type KeyOwner,
  keyOwner,
  listAccessKeys,
  removeAccessKey,
  requestAccessKey,
} from './user-keys.js';
export { countUsers, type ListedUser, listUsers, userExists } from './users.js';
