import { type DynamicModule, Module } from '@nestjs/common';
import { TypeOrmModule } from '@nestjs/typeorm';
import { DataSource } from 'typeorm';
import { Keyring } from './keyring.js';
import { Token } from './token.entity.js';
import { Tokens } from './tokens.js';

/** Tokens and the keyring; `masterKey` is 32 bytes. */
@Module({})
export class AccessModule {
  static open(masterKey: Buffer): DynamicModule {
    return {
      module: AccessModule,
      global: true,
      imports: [TypeOrmModule.forFeature([Token])],
      providers: [
        Tokens,
        { provide: Keyring, inject: [DataSource], useFactory: (source: DataSource) => Keyring.open(source, masterKey) },
      ],
      exports: [Tokens, Keyring],
    };
  }
}
