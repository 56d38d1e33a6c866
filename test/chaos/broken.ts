import { type Breakage, inBrokenCopy, type Run } from '../support/broken-copy.js';
import type { Servers } from './rig.js';

/** A build with one promise broken on purpose, and the points that must find it out. */
export interface BrokenBuild extends Breakage {
  /** As `--only` takes it. */
  points: string;
  /** What a run must say of it: red for another reason is no proof. */
  says: string;
}

/** What a chaos run is worth is seen by these: one that cannot fail proves nothing. */
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
    points: 'issue: CreateUser done',
    says: 'no row explains user',
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
    points: 'pool: CreateUser done',
    says: 'no row explains user',
  },
  {
    name: 'an answer does not wait for its acceptance',
    file: 'apps/gateway/src/issuer-client.ts',
    from: `if (acceptRequired) await this.accept(`,
    to: `if (acceptRequired) void this.accept(`,
    points: 'accept: acceptance | not committed',
    says: 'a caller holds it, and it is ended',
  },
  {
    name: 'a retry with the same idempotency key makes another credential',
    file: 'apps/issuer/src/issue-once.ts',
    from: '${mount}${door}/${role}`, idempotencyKey]',
    to: '${mount}${door}/${role}`, idempotencyKey && randomUUID()]',
    points: 'once: acceptance | committed',
    says: 'nobody holds it',
  },
  {
    name: 'a revocation is answered before it is stored',
    file: 'apps/gateway/src/sys/take-back.ts',
    from: `  async later(which: Which, reason: EndReason): Promise<ApiAnswer> {
    await this`,
    to: `  async later(which: Which, reason: EndReason): Promise<ApiAnswer> {
    void this`,
    points: 'revoke: request without a wait | not committed',
    says: 'still active',
  },
  {
    name: 'what a paused issuer may yet make is not looked for',
    file: 'libs/leases/src/revoking.ts',
    from: `looks_left = case when state = 'issuing' then \${this.timing.tombstoneLooksMs.length} else looks_left end`,
    to: `looks_left = case when state = 'issuing' then 0 else looks_left end`,
    points: 'paused: CreateUser sent',
    says: 'no row explains user',
  },
  {
    name: 'a call may leave whenever it likes',
    file: 'libs/aws/src/aws-call.ts',
    from: 'const { fence } = rules;',
    to: 'const fence = rules.fence && { remainingMs: () => 60_000 };',
    points: 'CreateAccessKey must not leave',
    says: 'after the intent was taken back',
  },
  {
    name: 'a lease has ended before it is destroyed',
    file: 'apps/revoker/src/revoke-lease.ts',
    from: `const outcome = await this.destroy(lease).catch(toOutcome);`,
    to: `void this.destroy(lease).catch(toOutcome);
    const outcome = { kind: 'gone' } as Outcome;`,
    points: 'revoke: DeleteAccessKey sent',
    says: 'no row explains user',
  },
];

/**
 * Builds a broken copy of this checkout and runs the points against it, in a process of its own.
 * @returns whether that found out what is broken, and what it said.
 * @throws Error when the copy cannot be broken, built or run.
 */
export function runBroken(
  build: BrokenBuild,
  servers: Servers,
  ending?: AbortSignal,
): Promise<{ red: boolean; said: string }> {
  const tryOut = async (run: Run) => {
    const compiled = await run(['node_modules/typescript/bin/tsc', '-p', '.']);
    ending?.throwIfAborted();
    if (compiled.code !== 0) throw new Error(`The broken copy does not compile: ${compiled.said}`);
    const start = `import('./dist/test/chaos/main.js').then(async ({ main }) => process.exit(await main(process.argv.slice(1))))`;
    const { code, said } = await run(['-e', start, '--', '--seed', '1', '--only', build.points], {
      TEST_DATABASE_URL: servers.databaseUrl,
      TEST_REDIS_URL: servers.redisUrl,
      TEST_RABBITMQ_URL: servers.rabbitmqUrl,
    });
    ending?.throwIfAborted();
    if (code !== 0 && code !== 1) throw new Error(`The points could not be run against the broken copy: ${said}`);
    return { red: code === 1 && said.includes(build.says), said };
  };
  return inBrokenCopy(build, tryOut, ending);
}
