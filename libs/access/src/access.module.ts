import { type DynamicModule, Module } from '@nestjs/common';
import { TypeOrmModule } from '@nestjs/typeorm';
import { Unavailable } from '#libs/contracts';
import { databaseIsAway } from '#libs/runtime';
import { defer, lastValueFrom, retry, throwError, timer } from 'rxjs';
import { DataSource } from 'typeorm';
import { Acls } from './acls.js';
import { AppRoles } from './app-roles.js';
import { Keyring } from './keyring.js';
import { Policies } from './policies.js';
import { Policy } from './policy.entity.js';
import { Seal } from './seal.js';
import { TokenEnds } from './token-ends.js';
import { TokenRoles } from './token-roles.js';
import { Token } from './token.entity.js';
import { Tokens } from './tokens.js';
import { WrappedAnswers } from './wrapped-answers.js';

/** Waits while the database is away, as its connection does. */
function whenThere(source: DataSource, masterKeys: Buffer[]): Promise<Keyring> {
  return lastValueFrom(
    defer(() => Keyring.open(source, ...masterKeys)).pipe(
      retry({
        delay: (error) =>
          databaseIsAway(error) instanceof Unavailable ? timer(1_000) : throwError(() => error as Error),
      }),
    ),
  );
}

/** Tokens, policies, the keyring and the seal; a master key is 32 bytes, and the first one is today's. */
@Module({})
export class AccessModule {
  static open(...masterKeys: Buffer[]): DynamicModule {
    return {
      module: AccessModule,
      global: true,
      imports: [TypeOrmModule.forFeature([Token, Policy])],
      providers: [
        Acls,
        AppRoles,
        Policies,
        TokenEnds,
        TokenRoles,
        Tokens,
        WrappedAnswers,
        Seal,
        { provide: Keyring, inject: [DataSource], useFactory: (source: DataSource) => whenThere(source, masterKeys) },
      ],
      exports: [AppRoles, Policies, TokenEnds, TokenRoles, Tokens, WrappedAnswers, Keyring, Seal],
    };
  }
}
