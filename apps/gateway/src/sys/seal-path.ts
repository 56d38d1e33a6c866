import { Injectable, Logger } from '@nestjs/common';
import { Keyring, Seal } from '#libs/access';
import { z } from 'zod';
import { noContent, withFlatData } from '../api/answers.js';
import { type ApiPart, type ApiPath, operation, type TokenRequest } from '../api/api-path.js';

const shown = z.strictObject({ term: z.int(), install_time: z.string() });

/** `sys/seal`, and the terms of the key that secrets are sealed with (contract.md 3.6; docs/decisions/0018). */
@Injectable()
export class SealPath implements ApiPart<TokenRequest<unknown>> {
  private readonly logger = new Logger('Seal');

  constructor(
    private readonly seal: Seal,
    private readonly keyring: Keyring,
  ) {}

  paths(): ApiPath<TokenRequest<unknown>>[] {
    const nothing = z.object({});
    return [
      {
        pattern: 'sys/seal',
        synopsis: 'Seal the system.',
        description:
          'Nobody is served and nothing is issued until it is unsealed, by any gateway or issuer. What is due goes on\n' +
          'being taken back.',
        operations: {
          update: operation(nothing, ({ id, caller }) => this.close(id, caller.token.accessor), noContent),
        },
      },
      {
        pattern: 'sys/rotate',
        synopsis: 'Begin a new term of the key that secrets are sealed with.',
        description: 'What older terms have sealed is sealed again by itself; then they end.',
        operations: {
          update: operation(nothing, ({ id, caller }) => this.rotate(id, caller.token.accessor), noContent),
        },
      },
      {
        pattern: 'sys/key-status',
        synopsis: 'Which term the key that secrets are sealed with is in.',
        description: 'Its number, and since when.',
        operations: { read: operation(nothing, () => this.status(), withFlatData(shown)) },
      },
    ];
  }

  private async close(requestId: string, accessor: string | null): Promise<void> {
    await this.seal.seal();
    this.logger.warn({ msg: 'the system is sealed', requestId, accessor });
  }

  private async rotate(requestId: string, accessor: string | null): Promise<void> {
    await this.keyring.rotate();
    this.logger.log({ msg: 'a new term of the keyring began', requestId, accessor });
  }

  private async status() {
    const { term, installedAt } = await this.keyring.term();
    return { data: { term, install_time: installedAt.toISOString() }, flat: true };
  }
}
