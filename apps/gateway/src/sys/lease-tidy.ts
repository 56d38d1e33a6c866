import { Inject, Injectable, Logger } from '@nestjs/common';
import { Observing } from '#libs/contracts';
import { EndingTokens, Sweeping } from '#libs/leases';
import { z } from 'zod';
import { OBSERVING } from '../issuer-client.js';
import { type ApiAnswer, type ApiPart, type ApiPath, operation, type TokenRequest } from '../api/api-path.js';

/** `sys/leases/tidy`: everything of a sweep that asks nothing of AWS, now (contract.md 3.2). */
@Injectable()
export class LeaseTidy implements ApiPart<TokenRequest<unknown>> {
  private readonly logger = new Logger(LeaseTidy.name);
  private isTidying = false;

  constructor(
    private readonly endingTokens: EndingTokens,
    private readonly sweeping: Sweeping,
    @Inject(OBSERVING) private readonly observing: boolean,
  ) {}

  paths(): ApiPath<TokenRequest<unknown>>[] {
    return [
      {
        pattern: 'sys/leases/tidy',
        synopsis: 'Tidy up among the leases now.',
        description:
          'Leases of ended tokens and mounts are given to be taken back, alarms are set anew, and what is kept no longer is\n' +
          'forgotten. The sweep does the same by itself, so this is seldom needed.',
        operations: {
          update: operation(z.object({}), async () => this.tidy(), { 202: { kind: 'data', schema: z.null() } }),
        },
      },
    ];
  }

  private tidy(): ApiAnswer {
    if (this.observing) throw new Observing('Nothing is tidied now');
    const warning = this.isTidying
      ? 'Tidy operation already in progress.'
      : "Tidy operation successfully started. Any information from the operation will be printed to Vault's server logs.";
    if (!this.isTidying) void this.run();
    return { status: 202, data: null, warnings: [warning] };
  }

  private async run(): Promise<void> {
    this.isTidying = true;
    try {
      await this.endingTokens.sweep();
      await this.sweeping.endSts();
      await this.sweeping.endUnmounted();
      await this.sweeping.setAlarms();
      await this.sweeping.forget();
      this.logger.log('leases tidied');
    } catch (error) {
      this.logger.error({ msg: 'leases not tidied; the sweep will', error: String(error) });
    } finally {
      this.isTidying = false;
    }
  }
}
