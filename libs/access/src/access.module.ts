import { type DynamicModule, Module } from '@nestjs/common';
import { TypeOrmModule } from '@nestjs/typeorm';
import { Unavailable } from '#libs/contracts';
import { databaseIsAway } from '#libs/runtime';
import { defer, lastValueFrom, retry, throwError, timer } from 'rxjs';
import { DataSource } from 'typeorm';
import { AppRoles } from './app-roles.js';
import { Keyring } from './keyring.js';
import { TokenEnds } from './token-ends.js';
import { TokenRoles } from './token-roles.js';
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

/** Tokens and the keyring; `masterKey` is 32 bytes. */
@Module({})
export class AccessModule {
  static open(masterKey: Buffer): DynamicModule {
    return {
      module: AccessModule,
      global: true,
      imports: [TypeOrmModule.forFeature([Token])],
      providers: [
        AppRoles,
        TokenEnds,
        TokenRoles,
        Tokens,
        { provide: Keyring, inject: [DataSource], useFactory: (source: DataSource) => whenThere(source, masterKey) },
      ],
      exports: [AppRoles, TokenEnds, TokenRoles, Tokens, Keyring],
    };
  }
}
