import { type CallHandler, type ExecutionContext, Injectable, type NestInterceptor } from '@nestjs/common';
import { CodedError, type HandOutLeaseReply, type IssueLeaseReply, OverBudget } from '#libs/contracts';
import { Metrics } from '#libs/runtime';
import { type Observable, tap } from 'rxjs';

/** Counts every command by what it was and how it ended, and how long it took. */
@Injectable()
export class CommandFigures implements NestInterceptor {
  private readonly commands;
  private readonly seconds;
  private readonly issued;
  private readonly refused;

  constructor(metrics: Metrics) {
    this.commands = metrics.counter(
      'leasehold_commands_total',
      'Commands: what was asked, and "ok" or the error code.',
      ['command', 'outcome'],
    );
    this.seconds = metrics.histogram(
      'leasehold_command_seconds',
      'How long an issuer was at work on a command.',
      [0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 20],
      ['command'],
    );
    this.refused = metrics.counter(
      'leasehold_refused_total',
      'Requests that a limit of ours refused: rate of calls, users of an account, leases of a role or token, a freeze.',
      ['limit'],
    );
    this.issued = metrics.counter('vault.secret.lease.creation', 'Credentials made and offered or handed on.', [
      'credential_type',
    ]);
  }

  intercept(context: ExecutionContext, next: CallHandler): Observable<unknown> {
    // The door's method, one of ten: `lease.issue` and its neighbours are named after it.
    const command = context.getHandler().name;
    const startedAt = performance.now();
    const note = (outcome: string) => {
      this.commands.inc({ command, outcome });
      this.seconds.observe({ command }, (performance.now() - startedAt) / 1000);
    };
    return next.handle().pipe(
      tap({
        next: (reply) => {
          note('ok');
          const lent = lentBy(command, reply);
          if (lent && !lent.replayed) this.issued.inc({ credential_type: lent.credentialType });
        },
        error: (error: unknown) => {
          note(error instanceof CodedError ? error.code : 'internal');
          if (error instanceof OverBudget) this.refused.inc({ limit: error.limit });
        },
      }),
    );
  }
}

function lentBy(command: string, reply: unknown): IssueLeaseReply | undefined {
  if (command === 'issue') return reply as IssueLeaseReply;
  return command === 'handOut' ? (reply as HandOutLeaseReply).lent : undefined;
}
