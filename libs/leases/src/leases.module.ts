import { BullModule } from '@nestjs/bullmq';
import { type DynamicModule, Module } from '@nestjs/common';
import { TypeOrmModule } from '@nestjs/typeorm';
import { alarmQueue } from '#libs/contracts';
import { Accepting } from './accepting.js';
import { Alarms } from './alarms.js';
import { Counting } from './counting.js';
import { EndingTokens } from './ending-tokens.js';
import { Finding } from './finding.js';
import { ForeignUsers } from './foreign-users.js';
import { IdempotentAnswers } from './idempotent-answers.js';
import { Issuing } from './issuing.js';
import { LeaseNews } from './lease-news.js';
import { LEASE_TIMING, type LeaseTiming } from './lease-timing.js';
import { LeaseWatch } from './lease-watch.js';
import { Lease } from './lease.entity.js';
import { Pooling } from './pooling.js';
import { Renewing } from './renewing.js';
import { Revoking } from './revoking.js';
import { Sweeping } from './sweeping.js';
import { Unfinished } from './unfinished.js';

const rooms = [
  Accepting,
  Alarms,
  Counting,
  EndingTokens,
  Finding,
  ForeignUsers,
  IdempotentAnswers,
  Issuing,
  LeaseNews,
  LeaseWatch,
  Pooling,
  Renewing,
  Revoking,
  Sweeping,
  Unfinished,
];

/** The lease: its states, storage, TTL arithmetic and alarms. */
@Module({})
export class LeasesModule {
  static withTiming(timing: LeaseTiming): DynamicModule {
    const timed = { provide: LEASE_TIMING, useValue: timing };
    return {
      module: LeasesModule,
      imports: [TypeOrmModule.forFeature([Lease]), BullModule.registerQueue({ name: alarmQueue })],
      providers: [...rooms, timed],
      exports: [...rooms, timed],
    };
  }
}
