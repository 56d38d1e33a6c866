export type { Account } from './account.js';
export { oneTimeCode } from './one-time-code.js';
export type { AccessKey, Group, ManagedPolicy, MfaDevice, Role, Tag, User } from './entities.js';
export type { CallFilter, CallLog, LoggedCall } from './calls.js';
export type { CallPattern, ErrorRule, Faults, FaultSettings, Hold } from './faults.js';
export {
  seedAssumeRolePolicy,
  seedFederationPolicy,
  seedFurtherPolicy,
  seedRootPolicy,
  seedRotationPolicy,
  seedTrustPolicy,
} from './seed-policy.js';
export { startSimulator, type AccessKeyPair, type Simulator, type SimulatorOptions } from './simulator.js';
