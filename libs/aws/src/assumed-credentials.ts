import { AssumeRoleCommand } from '@aws-sdk/client-sts';
import type { AwsCredentials, CredentialProvider } from './ambient-credentials.js';
import type { AwsAccount } from './aws-account.js';
import type { CallClass } from './aws-call.js';
import { AwsFailure } from './aws-failure.js';
import { credentialOf } from './sts-credential.js';

/** Whoever assumes a role by another role gets an hour, whatever the role allows (aws-facts.md, Limits). */
const sessionSeconds = 3_600;
/** Sessions are renewed when they have less left, milliseconds: before the SDK, which looks at its last 5 minutes, would ask. */
const renewBeforeMs = 600_000;
/** While STS does not give another one, the last one serves until it has less left, milliseconds. */
const leastLeftMs = 60_000;

/** As the log of the account shows who acted. */
const sessionName = 'leasehold';

/**
 * The credentials of a role that another account's identity assumes: asked for when they are first needed and again before they
 * end, once for all of a class who need them. The question counts against the STS budget of who asks.
 */
export class AssumedCredentials {
  #current: (AwsCredentials & { expiration: Date }) | undefined;
  /** By whose share of the budget: who takes back does not wait for the turn of who issues. */
  readonly #asking = new Map<CallClass, Promise<void>>();
  readonly #base: AwsAccount;

  constructor(
    base: AwsAccount,
    private readonly role: { roleArn: string; externalId: string },
  ) {
    this.#base = base;
  }

  /** For the clients that sign with them, after `refresh`. */
  readonly provide: CredentialProvider = async () => {
    if (this.#leftMs() <= leastLeftMs) await this.refresh('upkeep');
    return this.#current!;
  };

  /**
   * Sees to it that there are credentials that last.
   * @param by who needs them
   * @throws {AwsFailure} when there are none; nothing was asked of AWS with them.
   */
  async refresh(by: CallClass): Promise<void> {
    if (this.#leftMs() > renewBeforeMs) return;
    try {
      const asking = this.#asking.get(by) ?? this.#ask(by).finally(() => this.#asking.delete(by));
      this.#asking.set(by, asking);
      await asking;
    } catch (error) {
      if (this.#leftMs() > leastLeftMs) return;
      if (!(error instanceof AwsFailure)) throw error;
      // Whatever became of the question for them: the call that they were for never left.
      if (error.kind === 'unanswered') error.kind = 'unsent';
      error.unanswered = false;
      throw error;
    }
  }

  async #ask(by: CallClass): Promise<void> {
    const { roleArn, externalId } = this.role;
    const input = {
      RoleArn: roleArn,
      RoleSessionName: sessionName,
      DurationSeconds: sessionSeconds,
      ...(externalId && { ExternalId: externalId }),
    };
    // From then on its budget is the account's.
    await this.#base.identified();
    const { Credentials } = await this.#base.sts(AssumeRoleCommand, input, { by });
    this.#current = credentialOf(Credentials);
  }

  #leftMs(): number {
    return this.#current ? this.#current.expiration.getTime() - Date.now() : 0;
  }
}
