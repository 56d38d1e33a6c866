import { type DynamicModule, Module } from '@nestjs/common';
import { TypeOrmModule } from '@nestjs/typeorm';
import { Unavailable } from '#libs/contracts';
import { databaseIsAway } from '#libs/runtime';
import { defer, lastValueFrom, retry, throwError, timer } from 'rxjs';
import { DataSource } from 'typeorm';
import { Acls } from './acls.js';
import { Keyring } from './keyring.js';
import { Policies } from './policies.js';
import { Policy } from './policy.entity.js';
import { TokenAcls } from './token-acls.js';
import { Token } from './token.entity.js';
import { Tokens } from './tokens.js';

/** Waits while the database is away, as its connection does. */
function whenThere(source: DataSource, masterKey: Buffer): Promise<Keyring> {
  return lastValueFrom(
    defer(() => Keyring.open(source, masterKey)).pipe(
      retry({
        delay: (error) =>
          databaseIsAway(error) instanceof Unavailable ? timer(1_000) : throwError(() => error as Error),
      }),
    ),
  );
}

/** Tokens, policies and the keyring; `masterKey` is 32 bytes. */
@Module({})
export class AccessModule {
  static open(masterKey: Buffer): DynamicModule {
    return {
      module: AccessModule,
      global: true,
      imports: [TypeOrmModule.forFeature([Token, Policy])],
      providers: [
        Tokens,
        Acls,
        TokenAcls,
        Policies,
        { provide: Keyring, inject: [DataSource], useFactory: (source: DataSource) => whenThere(source, masterKey) },
      ],
      exports: [Tokens, TokenAcls, Policies, Keyring],
    };
  }
}
