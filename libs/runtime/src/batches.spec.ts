import { describe, expect, it } from '@jest/globals';
import { Batches } from './batches.js';

/** Statements that the test answers, one at a time. */
function statements() {
  const sent: { items: string[]; answer(): void; fail(error: unknown): void }[] = [];
  const batches = new Batches<string, string>(
    (items) =>
      new Promise((resolve, reject) => {
        sent.push({ items, answer: () => resolve(items.map((item) => `${item}!`)), fail: reject });
      }),
  );
  const turn = () => new Promise((resolve) => setImmediate(resolve));
  return { batches, sent, turn };
}

describe('those who ask the database the same at the same time', () => {
  it('go together, and who comes while they are on their way goes with the next ones', async () => {
    const { batches, sent, turn } = statements();
    const first = [batches.ask('a'), batches.ask('b')];
    await turn();
    const second = [batches.ask('c'), batches.ask('d')];
    await turn();
    expect(sent.map(({ items }) => items)).toEqual([['a', 'b']]);
    sent[0]!.answer();
    expect(await Promise.all(first)).toEqual(['a!', 'b!']);
    await turn();
    expect(sent[1]!.items).toEqual(['c', 'd']);
    sent[1]!.answer();
    expect(await Promise.all(second)).toEqual(['c!', 'd!']);
  });

  it('wait for nobody of another lane', async () => {
    const { batches, sent, turn } = statements();
    void batches.ask('a', 'held');
    await turn();
    const other = batches.ask('b', 'free');
    await turn();
    sent[1]!.answer();
    expect(await other).toBe('b!');
  });

  it('are asked for one by one when one of them is at fault, which alone is told', async () => {
    const { batches, sent, turn } = statements();
    const asked = Promise.allSettled([batches.ask('good'), batches.ask('bad')]);
    await turn();
    sent[0]!.fail(Object.assign(new Error('invalid'), { code: '22P02' }));
    await turn();
    sent[1]!.answer();
    await turn();
    sent[2]!.fail(Object.assign(new Error('still invalid'), { code: '22P02' }));
    expect((await asked).map((each) => each.status)).toEqual(['fulfilled', 'rejected']);
    expect(sent.map(({ items }) => items)).toEqual([['good', 'bad'], ['good'], ['bad']]);
  });

  it('are all told when the database is away: nobody knows what it did', async () => {
    const { batches, sent, turn } = statements();
    const asked = Promise.allSettled([batches.ask('a'), batches.ask('b')]);
    await turn();
    sent[0]!.fail(new Error('Connection terminated'));
    expect((await asked).map((each) => each.status)).toEqual(['rejected', 'rejected']);
    expect(sent).toHaveLength(1);
    const next = batches.ask('c');
    await turn();
    sent[1]!.answer();
    expect(await next).toBe('c!');
  });
});
