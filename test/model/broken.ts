import { type Breakage, inBrokenCopy } from '../support/broken-copy.js';

/** A build with one promise broken on purpose, and what the model must say of it. */
export interface BrokenBuild extends Breakage {
  says: RegExp;
  /** Where to begin, so that it is found soon; whatever else happens is chance, and may come in another order. */
  seed: number;
}

/** Cases within which each of them must be found out. */
const withinCases = 200;

const accepting = 'libs/leases/src/accepting.ts';
const issuing = 'libs/leases/src/issuing.ts';
const revoking = 'libs/leases/src/revoking.ts';

/** What the model is worth is seen by these: faults that it once found in the code, and others made up. */
export const broken: BrokenBuild[] = [
  {
    name: 'the intent is written after CreateUser',
    file: 'apps/issuer/src/issue-user.ts',
    from: `      if (spent === null) await this.open(order, intent);
      else await this.startOver(spent, intent);
      try {
        const key = await createIamUser(order.account, plan, order.fence);
`,
    to: `      try {
        const key = await createIamUser(order.account, plan, order.fence);
        if (spent === null) await this.open(order, intent);
        else await this.startOver(spent, intent);
`,
    says: /no row explains it/,
    seed: 1,
  },
  {
    name: 'an offer is accepted after its time',
    file: accepting,
    from: `state = 'offered' and due_at > now()`,
    to: `state = 'offered'`,
    says: /active too late/,
    seed: 1,
  },
  {
    name: 'an acceptance is not undone',
    file: accepting,
    from: `state in ('offered', 'active')`,
    to: `state in ('offered')`,
    says: /nobody holds it|forgotten/,
    seed: 1,
  },
  {
    name: 'what is taken back meanwhile is offered',
    file: issuing,
    from: `where leases.id = made.lease_id and state = 'issuing' and due_at > now()`,
    to: `where leases.id = made.lease_id and due_at > now()`,
    says: /moved .* to offered/,
    seed: 1,
  },
  {
    name: 'an offer is made to a caller who has left',
    file: issuing,
    from: `due_at > now() and \${notWithdrawn}
         returning leases.id`,
    to: `due_at > now()
         returning leases.id`,
    says: /its caller has left/,
    seed: 1,
  },
  {
    name: 'CreateAccessKey is tried again',
    file: 'libs/aws/src/user-keys.ts',
    from: `, onceOnly: true`,
    to: ``,
    says: /has 2 keys/,
    seed: 1,
  },
  {
    name: 'what a paused issuer may yet make is not looked for',
    file: revoking,
    from: `then \${this.timing.tombstoneLooksMs.length} else looks_left`,
    to: `then 0 else looks_left`,
    says: /is still in AWS: its row is ended/,
    seed: 1,
  },
  {
    name: 'a user that comes after its lease has ended is not looked for',
    file: 'apps/issuer/src/issue-user.ts',
    from: `this.issuing.offer(intent.leaseId, key.accessKeyId, ttlMs, key.late, kept)`,
    to: `this.issuing.offer(intent.leaseId, key.accessKeyId, ttlMs, false, kept)`,
    says: /is still in AWS: its row is ended/,
    seed: 1,
  },
  {
    name: 'a call may leave whenever it likes',
    file: 'libs/aws/src/fence.ts',
    from: `Math.max(0, this.closesAtMs - performance.now())`,
    to: `Math.max(60_000, this.closesAtMs - performance.now())`,
    says: /is still alive, and nobody may have it|still in AWS/,
    seed: 1,
  },
  {
    name: 'a young user that AWS does not know is believed to be gone',
    file: revoking,
    from: `if (row.ageMs >= timing.propagationMs) {`,
    to: `if (row.ageMs >= 0) {`,
    says: /nobody holds it|is still in AWS/,
    seed: 1,
  },
  {
    name: 'a lease is claimed before its time',
    file: revoking,
    from: `where mount_id = $3 and due_at <= now() and credential_type`,
    to: `where mount_id = $3 and due_at is not null and credential_type`,
    says: /before its time|claimed/,
    seed: 1,
  },
  {
    name: 'whoever asks for the end of a lease takes the claim of who is at work on it',
    file: revoking,
    from: `claim_id = case when state in ('revoking', 'irrevocable') then claim_id end,`,
    to: `claim_id = null,`,
    says: /ended revoker \d's claim/,
    seed: 1,
  },
  {
    name: 'what came of a try is written by who has lost the claim',
    file: revoking,
    from: `where leases.id = next.id and leases.claim_id = next.claim_id`,
    to: `where leases.id = next.id`,
    says: /claim on|had not claimed|unclaimed/,
    seed: 1,
  },
  {
    name: 'what is being taken back is renewed',
    file: 'libs/leases/src/renewing.ts',
    from: `if (lease.state === 'revoking' || lease.expired`,
    to: `if (lease.expired`,
    says: /renewed .*, which was revoking/,
    seed: 1,
  },
  {
    name: 'a renewal that shortens a lease does not bring its end forward',
    file: 'libs/leases/src/renewing.ts',
    from: `, due_at = now() + $2 * interval '1 ms',`,
    to: `,`,
    says: /a minute later key .* is still alive, and nobody may have it: its row is active/,
    seed: 1,
  },
  {
    name: 'the intent of a pool is written after CreateUser',
    file: 'apps/issuer/src/make-pooled.ts',
    from: `    if (!(await this.open(order, intent))) return false;
    let late = false;
    try {
      const key = await createIamUser(account, plan, fence, 'spare');
`,
    to: `    let late = false;
    try {
      const key = await createIamUser(account, plan, fence, 'spare');
      if (!(await this.open(order, intent))) return false;
`,
    says: /no row explains it/,
    seed: 1,
  },
  {
    name: 'a command that is delivered twice is handed two users of a pool',
    file: 'libs/leases/src/pooling.ts',
    from: `from ready \${unlessOwn} returning lease_id`,
    to: `from ready on conflict (id) do update set lease_id = excluded.lease_id returning lease_id`,
    says: /two living credentials|with two credentials/,
    seed: 1,
  },
  {
    name: 'what an unmount has left is forgotten',
    file: 'libs/leases/src/sweeping.ts',
    from: `async endUnmounted(): Promise<void> {`,
    to: `async endUnmounted(): Promise<void> {
    if (this.timing) return;`,
    says: /the mount has ended, and some of its leases go on/,
    seed: 1,
  },
  {
    name: 'a path is free before its leases have ended',
    file: 'libs/roles/src/mounts.ts',
    from: `where mount_id = mounts.id and state <> 'ended' and accepted_at is not null)`,
    to: `where mount_id = mounts.id and false)`,
    says: /the path of a mount is free/,
    seed: 1,
  },
];

/**
 * Runs the model on a copy of this checkout that is broken: its stories, and, where those say nothing, cases of chance.
 * @returns whether that was found out, and what the model said.
 */
export function runModelOn(build: BrokenBuild): Promise<{ red: boolean; said: string }> {
  return inBrokenCopy(build, async (run) => {
    const model = async (tests: string) => {
      const args = ['--selectProjects', 'embedded', '--testPathPatterns', 'lease-model', '-t', tests];
      const { code, said } = await run(['node_modules/jest/bin/jest.js', ...args], {
        NODE_OPTIONS: process.env.NODE_OPTIONS ?? '',
        TEST_DATABASE_URL: process.env.TEST_DATABASE_URL!,
        MODEL_RUNS: String(withinCases),
        MODEL_SEED: String(build.seed),
      });
      return { red: code === 1 && build.says.test(said), said };
    };
    const told = await model('break no promise when ');
    return told.red ? told : model('whatever order');
  });
}
