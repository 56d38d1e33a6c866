import { NestFactory } from '@nestjs/core';
import { AccessModule, MasterKeyRefused, masterKeysOf } from '#libs/access';
import { AwsAccounts, surroundingsOf } from '#libs/aws';
import { RolesModule } from '#libs/roles';
import { databaseModule, databaseOf, readEnvironment, StartRefused } from '#libs/runtime';
import { Comparison, type LivingRow, type MountComparison } from './comparison.js';
import { reportEnv } from './report.env.js';

/** `npm run report`: what is lent by the database and what is in AWS, mount by mount. It reads, and changes nothing. */
try {
  // The SDK's version is pinned, and tried on the Node that the project asks for.
  process.env.AWS_SDK_JS_NODE_VERSION_SUPPORT_WARNING_DISABLED = 'true';
  const env = readEnvironment('report', reportEnv, process.env);
  const accounts = new AwsAccounts(surroundingsOf(env));
  const app = await NestFactory.createApplicationContext(
    {
      module: class {},
      imports: [databaseModule(databaseOf(env), 2), AccessModule.open(...masterKeysOf(env)), RolesModule],
      providers: [Comparison, { provide: AwsAccounts, useValue: accounts }],
    },
    { logger: false, abortOnError: false },
  );
  try {
    const mounts = await app.get(Comparison).execute();
    process.stdout.write(`${mounts.map(textOf).join('\n\n') || 'There is no mount.'}\n\nNothing was changed.\n`);
  } finally {
    await app.close();
    accounts.close();
  }
} catch (error) {
  const told = error instanceof StartRefused || error instanceof MasterKeyRefused;
  process.stderr.write(`${told ? error.message : ((error as Error).stack ?? String(error))}\n`);
  process.exitCode = 1;
}

function textOf(mount: MountComparison): string {
  const { existing, missing, unknown, unexplained, left, gaps } = mount;
  const due = existing.filter((row) => row.isDue);
  const rows = (word: string, found: LivingRow[]) =>
    found.map((row) => `  ${word}  ${row.userName}  ${row.leaseId}  ${row.state} until ${instant(row.expiresAt)}`);
  const users = (word: string, found: MountComparison['left']) =>
    found.map((user) => `  ${word}  ${user.name}  made ${instant(user.createdAt)}`);
  return [
    `${mount.path} in account ${mount.accountId ?? 'unknown'}`,
    `  living leases: ${existing.length + missing.length + unknown.length}`,
    `  users that exist: ${existing.length}; due, so taken back as soon as a revoker runs: ${due.length}`,
    `  users that are missing, whose leases end by themselves: ${missing.length}`,
    `  users that were not looked for: ${unknown.length}`,
    `  users that look like ours and no lease names, to be looked at by hand: ${unexplained.length}`,
    `  users whose leases have ended: ${left.length}`,
    ...gaps.map((gap) => `  ${gap}`),
    ...rows('due        ', due),
    ...rows('missing    ', missing),
    ...rows('not looked ', unknown),
    ...users('unexplained', unexplained),
    ...users('ended      ', left),
  ].join('\n');
}

function instant(date: Date | null | undefined): string {
  return date?.toISOString() ?? 'unknown';
}
