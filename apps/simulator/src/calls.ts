/** One call as it was answered. Holds no secret: keys by id, users and policies by name. */
export interface LoggedCall {
  /** Counts from 1, in the order in which calls arrived. */
  sequence: number;
  /** `performance.now()` of this process. */
  startedAtMs: number;
  endedAtMs: number;
  service: 'iam' | 'sts';
  action: string;
  /** Unset when nobody could be found who signed it. */
  account?: string;
  /** As the signature names it, whether or not it is right; unset without one. */
  accessKeyId?: string;
  /** UserName, PolicyName, PolicyArn, GroupName, RoleArn, Name … where the call has them. */
  userName?: string;
  parameters: Record<string, string>;
  /** `Success`, or the error's code; for a lost reply what would have been answered. */
  outcome: string;
  /** False: the connection was broken instead of an answer. */
  replied: boolean;
}

export type CallFilter = Partial<
  Pick<LoggedCall, 'action' | 'service' | 'account' | 'accessKeyId' | 'userName' | 'outcome'>
>;

const capacity = 100_000;

/** The last hundred thousand calls. */
export class CallLog {
  private ring: LoggedCall[] = [];
  private next = 0;
  private sequence = 0;

  nextSequence(): number {
    return (this.sequence += 1);
  }

  add(call: LoggedCall): void {
    this.ring[this.next] = call;
    this.next = (this.next + 1) % capacity;
  }

  /** Calls that have been answered and fit the filter, in the order in which they were answered. */
  list(filter: CallFilter = {}): LoggedCall[] {
    const wanted = Object.entries(filter) as [keyof CallFilter, string][];
    const inOrder =
      this.ring.length < capacity ? this.ring : [...this.ring.slice(this.next), ...this.ring.slice(0, this.next)];
    return inOrder.filter((call) => wanted.every(([name, value]) => call[name] === value));
  }

  count(filter: CallFilter = {}): number {
    return this.list(filter).length;
  }

  clear(): void {
    this.ring = [];
    this.next = 0;
  }
}
