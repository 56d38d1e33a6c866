import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import type { AwsAccount, AwsAccounts } from './aws-account.js';
import { madeBy } from './aws-errors.js';
import {
  accessDenied,
  accountsAt,
  AwsStub,
  broken,
  done,
  failureOf,
  fenceOf,
  garbled,
  lost,
  noSuchEntity,
  refused,
  type Reply,
  rootSettings,
  secretOfReplies,
  silent,
  throttled,
} from './aws.spec-stub.js';
import { keyOwner, listAccessKeys, removeAccessKey, requestAccessKey } from './user-keys.js';

const page = (ids: [id: string, createdAt: string][], marker?: string) => {
  const member = ([id, at]: [string, string]) =>
    `<member><AccessKeyId>${id}</AccessKeyId><CreateDate>${at}</CreateDate></member>`;
  const more = marker === undefined ? '' : `<Marker>${marker}</Marker>`;
  const members = `<AccessKeyMetadata>${ids.map(member).join('')}</AccessKeyMetadata>`;
  return done(`<IsTruncated>${marker !== undefined}</IsTruncated>${more}${members}`);
};

describe('keys of a user that no lease made', () => {
  let stub: AwsStub;
  let accounts: AwsAccounts;
  let account: AwsAccount;

  beforeEach(async () => {
    stub = await AwsStub.start();
    accounts = accountsAt(stub.url, { requestTimeoutMs: 300 });
    account = accounts.open(rootSettings);
  });
  afterEach(async () => {
    accounts.close();
    await stub.close();
  });

  const request = (ms = 2_000) => requestAccessKey(account, 'y', { fence: fenceOf(ms) }, 'no key');

  it('are those of the caller where no user is named', async () => {
    stub.on('GetUser', done('<User><UserName>y</UserName><UserId>AIDAY</UserId><Arn>arn:y</Arn></User>'));
    expect(await keyOwner(account, undefined, '')).toEqual({ userName: 'y', userId: 'AIDAY', arn: 'arn:y' });
    expect(stub.sent('GetUser')[0]).not.toHaveProperty('UserName');
    stub.on('GetUser', noSuchEntity());
    await expect(keyOwner(account, 'nobody', 'no user')).rejects.toThrow(/^no user: NoSuchEntity: /);
  });

  it('are listed to the last page, the oldest first', async () => {
    const [second, first, third] = ['2026-02-02T00:00:00Z', '2026-01-01T00:00:00Z', '2026-03-03T00:00:00Z'];
    stub.on('ListAccessKeys', page([['B', second!]], 'm'), page([['A', first!], ['C', third!]])); // prettier-ignore
    expect(await listAccessKeys(account, 'y', '')).toEqual(['A', 'B', 'C']);
  });

  it.each<[string, Reply]>([
    ['is lost', lost],
    ['cannot be read', garbled],
    ['does not come', silent],
    ['is a fault of AWS', broken],
  ])('are asked for once and may be there when the answer %s', async (_, reply) => {
    stub.on('CreateAccessKey', reply);
    const failure = await failureOf(request());
    expect([madeBy(failure), stub.actions]).toEqual(['maybe', ['CreateAccessKey']]);
    expect(failure.message).toMatch(/^no key: /);
    expect(failure.message).not.toContain(secretOfReplies);
  });

  it('may be there when the fence closes on the way, and are surely not when it was closed before', async () => {
    stub.on('CreateAccessKey', silent);
    expect(madeBy(await failureOf(request(100)))).toBe('maybe');
    expect(madeBy(await failureOf(request(0)))).toBe('nothing');
    expect(stub.actions).toEqual(['CreateAccessKey']);
  });

  it('are surely not there when AWS refuses, and are made after it has asked for patience', async () => {
    stub.on('CreateAccessKey', refused('LimitExceeded', 409), throttled);
    const failure = await failureOf(request());
    expect([madeBy(failure), failure.message]).toEqual(['nothing', expect.stringMatching(/^no key: LimitExceeded: /)]);
    expect(await request()).toEqual({ accessKeyId: 'AKIASTUB', secretAccessKey: secretOfReplies });
  });

  it('are removed, also when they are gone', async () => {
    stub.on('DeleteAccessKey', lost, noSuchEntity('The Access Key with id A cannot be found.'));
    await removeAccessKey(account, 'y', 'A', '');
    stub.on('DeleteAccessKey', accessDenied);
    await expect(removeAccessKey(account, 'y', 'A', 'not removed')).rejects.toThrow(/^not removed: AccessDenied: /);
  });
});
