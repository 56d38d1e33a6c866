import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import type { AwsAccount, AwsAccounts, AwsCall } from './aws-account.js';
import type { CallClass } from './aws-call.js';
import { outcomeOf } from './aws-figures.js';
import {
  accountsAt,
  AwsStub,
  done,
  fenceOf,
  lost,
  refused,
  rootSettings,
  secretOfReplies,
  throttled,
} from './aws.spec-stub.js';
import { keyAcceptance } from './key-acceptance.js';

const key = { accessKeyId: 'AKIALENT', secretAccessKey: secretOfReplies };
const unknown = refused('InvalidClientTokenId', 403);

let stub: AwsStub;
let accounts: AwsAccounts;
let account: AwsAccount;
const turns: { budget: string; by: CallClass }[] = [];
const outcomes: string[] = [];

beforeEach(async () => {
  stub = await AwsStub.start();
  accounts = accountsAt(stub.url, {
    budget: { take: async ({ budget, by }) => void turns.push({ budget, by }), answered: () => undefined },
    onCall: (call: AwsCall) => void outcomes.push(outcomeOf(call)),
  });
  account = accounts.open(rootSettings);
  await account.identity();
  stub.calls.length = turns.length = outcomes.length = 0;
});

afterEach(async () => {
  accounts.close();
  await stub.close();
});

const acceptance = (changes: Partial<Parameters<typeof keyAcceptance>[2]> = {}) =>
  keyAcceptance(account, key, {
    timesInARow: 3,
    everyMs: 1,
    until: fenceOf(10_000),
    isWanted: () => Promise.resolve(true),
    ...changes,
  });

describe('a new key', () => {
  it('is accepted once AWS has said so several times in a row, whatever it said in between', async () => {
    stub.on('GetCallerIdentity', unknown, done(), done(), unknown, done(), done(), done(), unknown);
    expect(await acceptance()).toBe('accepted');
    expect(stub.actions).toHaveLength(7);
  });

  it('is asked about where it is used, signed with it, over the connections that there are', async () => {
    expect(await acceptance()).toBe('accepted');
    const asked = { action: 'GetCallerIdentity', accessKeyId: 'AKIALENT', region: 'eu-west-1' };
    expect(stub.calls).toMatchObject([asked, asked, asked]);
    expect(stub.connections).toBe(1);
    await account.identity();
    expect((await accounts.open({ ...rootSettings, version: '2' }).identity()).accountId).toBe('123456789012');
    expect(stub.calls.at(-1)!.accessKeyId).toBe('AKIAROOT');
  });

  it('is not made known or unknown by an answer that says nothing of it', async () => {
    stub.on('GetCallerIdentity', done(), throttled, done(), lost, done());
    expect(await acceptance()).toBe('accepted');
    expect(stub.actions).toHaveLength(5);
  });

  it("is asked about behind all others of the account's STS budget, and is no missing right of the root", async () => {
    stub.on('GetCallerIdentity', unknown);
    expect(await acceptance()).toBe('accepted');
    expect(turns).toEqual(Array.from({ length: 4 }, () => ({ budget: '123456789012:sts', by: 'upkeep' })));
    expect(outcomes).toEqual(['lagging', 'ok', 'ok', 'ok']);
  });

  it('is not waited for beyond the time there is', async () => {
    stub.on('GetCallerIdentity', ...Array.from({ length: 1_000 }, () => unknown));
    expect(await acceptance({ until: fenceOf(60) })).toBe('not_yet');
    const asked = stub.actions.length;
    expect(asked).toBeGreaterThan(0);
    expect(await acceptance({ until: fenceOf(0) })).toBe('not_yet');
    expect(stub.actions).toHaveLength(asked);
  });

  it('is not asked about any more when nobody wants to know', async () => {
    stub.on('GetCallerIdentity', ...Array.from({ length: 1_000 }, () => unknown));
    let looks = 0;
    expect(await acceptance({ isWanted: () => Promise.resolve(++looks < 3) })).toBe('unwanted');
    expect(stub.actions).toHaveLength(2);
  });
});
