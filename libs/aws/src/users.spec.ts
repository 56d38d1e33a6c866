import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import type { AwsAccount, AwsAccounts } from './aws-account.js';
import { accessDenied, accountsAt, AwsStub, broken, done, refused, type Reply, rootSettings } from './aws.spec-stub.js';
import { countUsers } from './users.js';

const entry = (key: string, value: number) => `<entry><key>${key}</key><value>${value}</value></entry>`;
const summary = done(`<SummaryMap>${entry('Groups', 2)}${entry('Users', 31)}${entry('UsersQuota', 5000)}</SummaryMap>`);
const page = (users: number, marker?: string) => {
  const members = '<member><UserName>u</UserName></member>'.repeat(users);
  const more = marker === undefined ? '' : `<Marker>${marker}</Marker>`;
  return done(`<IsTruncated>${marker !== undefined}</IsTruncated>${more}<Users>${members}</Users>`);
};

describe('the users of an account', () => {
  let stub: AwsStub;
  let accounts: AwsAccounts;
  let account: AwsAccount;

  beforeEach(async () => {
    stub = await AwsStub.start();
    accounts = accountsAt(stub.url);
    account = accounts.open(rootSettings);
  });
  afterEach(async () => {
    accounts.close();
    await stub.close();
  });

  it('are counted by one call where the summary may be read', async () => {
    stub.on('GetAccountSummary', summary);
    expect(await countUsers(account, false)).toEqual({ users: 31, quota: 5_000 });
    expect(stub.actions).toEqual(['GetAccountSummary']);
  });

  it('are counted to the last page of their list where only that may be read', async () => {
    stub.on('GetAccountSummary', accessDenied).on('ListUsers', page(3, 'a'), page(2, 'b'), page(1));
    expect(await countUsers(account, false)).toEqual({ users: 6, quota: null });
    expect(stub.sent('ListUsers').map(({ Marker, MaxItems }) => [Marker, MaxItems])).toEqual([
      [undefined, '1000'],
      ['a', '1000'],
      ['b', '1000'],
    ]);
  });

  it('are asked for in both ways at once when somebody waits', async () => {
    // Each is answered when the other has arrived.
    const arrived = new Map<string, () => void>();
    const whenBothAreThere =
      (reply: Reply): Reply =>
      async (response, call) => {
        await new Promise<void>((resolve) => {
          arrived.set(call.action, resolve);
          if (arrived.size === 2) for (const release of arrived.values()) release();
        });
        await reply(response, call);
      };
    stub.on('GetAccountSummary', whenBothAreThere(accessDenied)).on('ListUsers', whenBothAreThere(page(4)));
    expect(await countUsers(account, true)).toEqual({ users: 4, quota: null });
  });

  it.each([true, false])(
    'are not told where neither may be read, or is known there (awaited: %s)',
    async (isAwaited) => {
      stub.on('GetAccountSummary', accessDenied, refused('InvalidAction')).on('ListUsers', accessDenied, accessDenied);
      expect(await countUsers(account, isAwaited)).toBe('not allowed');
      expect(await countUsers(account, isAwaited)).toBe('not allowed');
      expect(stub.calls).toHaveLength(4);
    },
  );

  it('are not told, and not said to be none, while AWS is broken', async () => {
    stub.on('GetAccountSummary', broken, broken, broken, broken);
    expect(await countUsers(account, false)).toBe('no answer');
    stub.on('GetAccountSummary', accessDenied).on('ListUsers', page(3, 'a'), broken, broken, broken, broken);
    expect(await countUsers(account, false)).toBe('no answer');
  });
});
