import { describe, expect, it } from '@jest/globals';
import { CodedError, InvalidRequest, OutOfTime, RoleNotFound } from './errors.js';
import { type HandOutLeaseReply, PoolFirst } from './lease-hand-out.js';
import type { IssueLeaseReply } from './lease-issue.js';

const made = { leaseId: 'made' } as IssueLeaseReply;
const handedOut = { hasPool: true, lent: { leaseId: 'handed out' } as IssueLeaseReply };
const none = { hasPool: true };
const noPool = { hasPool: false };

describe('who asks for a credential', () => {
  /** Asks once, is answered so, and tells which commands that took. */
  async function asks(
    poolFirst: PoolFirst,
    answer: HandOutLeaseReply | Error,
    {
      reply = made,
      ...wish
    }: { role?: string; door?: 'creds' | 'sts'; idempotencyKey?: string; reply?: object | Error } = {},
  ): Promise<string[]> {
    const sent: string[] = [];
    await poolFirst.issue(
      { mount: 'aws/', role: 'deploy', door: 'creds', ...wish },
      {
        handOut: async () => {
          sent.push('hand-out');
          if (answer instanceof Error) throw answer;
          return answer;
        },
        issue: async () => {
          sent.push('issue');
          if (reply instanceof Error) throw reply;
          return reply as IssueLeaseReply;
        },
      },
    );
    return sent;
  }

  it('asks for a hand-out first, of a role not heard of and of one that has a pool', async () => {
    const poolFirst = new PoolFirst();
    expect(await asks(poolFirst, handedOut)).toEqual(['hand-out']);
    expect(await asks(poolFirst, none, { reply: { ...made, hasPool: true } })).toEqual(['hand-out', 'issue']);
    expect(await asks(poolFirst, handedOut)).toEqual(['hand-out']);
  });

  it('does not ask again where there is no pool, until it hears of one', async () => {
    const poolFirst = new PoolFirst();
    expect(await asks(poolFirst, noPool)).toEqual(['hand-out', 'issue']);
    expect(await asks(poolFirst, noPool)).toEqual(['issue']);
    expect(await asks(poolFirst, noPool, { role: 'other' })).toEqual(['hand-out', 'issue']);
    expect(await asks(poolFirst, noPool, { reply: { ...made, hasPool: true } })).toEqual(['issue']);
    expect(await asks(poolFirst, handedOut)).toEqual(['hand-out']);
  });

  it('asks the ordinary way by the other door and with an idempotency key, and learns nothing by that', async () => {
    const poolFirst = new PoolFirst();
    expect(await asks(poolFirst, handedOut, { door: 'sts' })).toEqual(['issue']);
    expect(await asks(poolFirst, handedOut, { idempotencyKey: 'key' })).toEqual(['issue']);
    expect(await asks(poolFirst, handedOut)).toEqual(['hand-out']);
  });

  it('asks an issuer that does not know hand-outs the ordinary way', async () => {
    const unknown = new CodedError('invalid_request', 'There is no command "lease.hand-out".');
    expect(await asks(new PoolFirst(), unknown)).toEqual(['hand-out', 'issue']);
  });

  it('learns nothing of a request that is refused', async () => {
    const poolFirst = new PoolFirst();
    const malformed = new InvalidRequest('parameters: must be text');
    await expect(asks(poolFirst, malformed)).rejects.toBe(malformed);
    expect(await asks(poolFirst, handedOut)).toEqual(['hand-out']);
  });

  it('asks for a hand-out again once the ordinary way has failed: a pool may have come meanwhile', async () => {
    const poolFirst = new PoolFirst();
    await asks(poolFirst, noPool);
    await expect(asks(poolFirst, noPool, { reply: new OutOfTime() })).rejects.toThrow(OutOfTime);
    expect(await asks(poolFirst, handedOut)).toEqual(['hand-out']);
  });

  it.each([
    ['out of time', new OutOfTime()],
    ['no such role', new RoleNotFound('deploy')],
  ])('hears any other error as it is: %s', async (_, error) => {
    await expect(asks(new PoolFirst(), error)).rejects.toBe(error);
  });

  it('remembers 10,000 roles, the latest ones', async () => {
    const poolFirst = new PoolFirst();
    for (let n = 0; n <= 10_000; n += 1) await asks(poolFirst, noPool, { role: `role-${n}` });
    expect(await asks(poolFirst, noPool, { role: 'role-10000' })).toEqual(['issue']);
    expect(await asks(poolFirst, noPool, { role: 'role-1' })).toEqual(['issue']);
    expect(await asks(poolFirst, noPool, { role: 'role-0' })).toEqual(['hand-out', 'issue']);
  });
});
