import { Injectable, Logger } from '@nestjs/common';
import type { IssueLeaseReply } from '#libs/contracts';
import { type HandedOut, Pooling } from '#libs/leases';
import { FillPools } from './fill-pools.js';
import { type Asked, askerOf, type Made, replyOf, userTtl } from './order.js';
import { PoolFigures } from './pool-figures.js';

/** Gives a caller a user of its role's pool: one commit, whatever AWS does (docs/decisions/0028). */
@Injectable()
export class HandOut {
  private readonly logger = new Logger(HandOut.name);

  constructor(
    private readonly pooling: Pooling,
    private readonly fillPools: FillPools,
    private readonly figures: PoolFigures,
  ) {}

  /** Null where the pool has nothing to give: then a user is made. @throws OutOfTime as `Pooling.handOut` */
  async execute(asked: Asked): Promise<IssueLeaseReply | null> {
    const { command, role, credentialType, seal } = asked;
    const life = userTtl(asked);
    const asker = {
      ...askerOf(asked),
      commandId: command.id,
      requestId: command.requestId,
      roleVersion: role.version,
      ttlMs: life.ttlMs,
    };
    const made = ({ leaseId, accessKeyId, secretAccessKey }: HandedOut): Made => ({
      leaseId,
      credentialType,
      renewable: true,
      acceptRequired: true,
      credential: { accessKeyId, secretAccessKey },
      ttlCut: life.cut,
      // It is older than AWS needs to know a key.
      ...(asked.ready && { ready: true }),
    });
    const user = await this.pooling.handOut(asker, seal && ((each) => seal(made(each))));
    if (!user) return null;
    this.figures.asked('handed_out');
    this.fillPools.soon();
    this.logger.log({
      msg: 'credential offered from the pool',
      leaseId: user.leaseId,
      requestId: command.requestId,
      accessKeyIdEnd: user.accessKeyId.slice(-4),
    });
    return replyOf(made(user), life.ttlMs);
  }
}
