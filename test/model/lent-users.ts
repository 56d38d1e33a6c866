import { type Simulator } from '../../apps/simulator/src/index.js';

const minute = 60_000;
const rootUser = 'leasehold-root';

/** How AWS answers when it is not well; `lost`: it does what it is asked, and its answer gets lost. */
const faultKinds = {
  throttled: { code: 'Throttling' },
  failed: { code: 'ServiceFailure', status: 500 },
  failedAfterwards: { code: 'ServiceFailure', status: 500, when: 'after' },
  refused: { code: 'AccessDenied', status: 403 },
  concurrent: { code: 'ConcurrentModification', status: 409 },
} as const;
export type FaultKind = keyof typeof faultKinds | 'lost';

/** A user in AWS that was made for a caller. */
export interface LentUser {
  name: string;
  keys: string[];
}

/** The simulated AWS: what is in it, and what is wrong with it. */
export class LentUsers {
  constructor(private readonly simulator: Simulator) {}

  all(): LentUser[] {
    return this.simulator
      .account()
      .users()
      .filter((user) => user.name !== rootUser)
      .map((user) => ({ name: user.name, keys: user.accessKeys.map((key) => key.id) }));
  }

  keys(): Set<string> {
    return new Set(this.all().flatMap((user) => user.keys));
  }

  /** Nothing lent, and AWS in good health. */
  clear(): void {
    this.simulator.faults.clear();
    const account = this.simulator.account();
    for (const { name } of this.all()) {
      const user = account.user(name)!;
      user.accessKeys.slice().forEach((key) => account.deleteAccessKey(user, key.id));
      user.inlinePolicies.length = 0;
      account.deleteUser(user);
    }
  }

  get accountId(): string {
    return this.simulator.account().id;
  }

  /** The root keys of another mount. */
  rootKeys(): { accessKey: string; secretKey: string } {
    const { accessKeyId, secretAccessKey } = this.simulator.provisionRootIdentity({ userName: rootUser });
    return { accessKey: accessKeyId, secretKey: secretAccessKey };
  }

  /** AWS answers the next calls of this action otherwise than it should. */
  fault(action: string, kind: FaultKind, times: number): void {
    const { faults } = this.simulator;
    if (kind === 'lost') faults.loseReply({ action, times });
    else faults.fail({ action, times, ...faultKinds[kind] });
  }

  /** Each user is unknown to AWS for its first calls. */
  lag(count: number): void {
    if (this.simulator.faults.settings.clockOffsetMs !== 0) return; // a user's age would be another one than ours
    this.simulator.faults.set({ youngNoSuchEntity: count > 0 ? { ms: minute, count } : null });
  }

  /** AWS's clock is off. */
  skew(minutes: number): void {
    this.simulator.faults.set({ clockOffsetMs: minutes * minute, youngNoSuchEntity: null });
  }

  /** AWS is well again. */
  heal(): void {
    this.simulator.faults.clear();
  }
}
