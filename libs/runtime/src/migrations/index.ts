import { LendAndTakeBack1764000000000 } from './1764000000000-lend-and-take-back.js';
import { Outbox1764100000000 } from './1764100000000-outbox.js';
import { ForcedLeases1764250000000 } from './1764250000000-forced-leases.js';
import { IdempotentAnswers1764300000000 } from './1764300000000-idempotent-answers.js';
import { Limits1764400000000 } from './1764400000000-limits.js';
import { LeaseLimitsAndFreezes1764410000000 } from './1764410000000-lease-limits-and-freezes.js';
import { ForeignUsers1764411000000 } from './1764411000000-foreign-users.js';
import { CommandsOfTokens1764430000000 } from './1764430000000-commands-of-tokens.js';
import { Tokens1764500000000 } from './1764500000000-tokens.js';
import { AppRole1764510000000 } from './1764510000000-approle.js';
import { Policies1764600000000 } from './1764600000000-policies.js';
import { Sealing1764700000000 } from './1764700000000-sealing.js';
import { Audit1764800000000 } from './1764800000000-audit.js';
import { Wrapping1764900000000 } from './1764900000000-wrapping.js';
import { Uses1764950000000 } from './1764950000000-uses.js';
import { SessionTokens1765000000000 } from './1765000000000-session-tokens.js';
import { Rotation1765100000000 } from './1765100000000-rotation.js';
import { AccountIdentities1765200000000 } from './1765200000000-account-identities.js';
import { MountMoves1765300000000 } from './1765300000000-mount-moves.js';
import { Pools1765500000000 } from './1765500000000-pools.js';

/** Every migration, oldest first. A list rather than a folder search: a bundle has no folders. */
export const migrations = [
  LendAndTakeBack1764000000000,
  Outbox1764100000000,
  ForcedLeases1764250000000,
  IdempotentAnswers1764300000000,
  Limits1764400000000,
  LeaseLimitsAndFreezes1764410000000,
  ForeignUsers1764411000000,
  CommandsOfTokens1764430000000,
  Tokens1764500000000,
  AppRole1764510000000,
  Policies1764600000000,
  Sealing1764700000000,
  Audit1764800000000,
  Wrapping1764900000000,
  Uses1764950000000,
  SessionTokens1765000000000,
  Rotation1765100000000,
  AccountIdentities1765200000000,
  MountMoves1765300000000,
  Pools1765500000000,
];
