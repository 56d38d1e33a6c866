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

  it('wait for none of them that has to wait: it is asked for by itself, and fails by itself', async () => {
    const waits: ((error: unknown) => void)[] = [];
    const batches = new Batches<string, string>((items, alone) =>
      alone
        ? new Promise((_, reject) => waits.push(reject))
        : Promise.resolve(items.map((item) => (item === 'held' ? undefined : `${item}!`))),
    );
    const held = batches.ask('held');
    expect(await Promise.all([batches.ask('a'), batches.ask('b')])).toEqual(['a!', 'b!']);
    expect(await batches.ask('c')).toBe('c!');
    waits[0]!(new Error('waited too long'));
    await expect(held).rejects.toThrow('waited too long');
    expect(waits).toHaveLength(1);
  });

  it('fail by themselves where only what is made of an answer fails', async () => {
    const batches = new Batches<string, string>((items) =>
      Promise.resolve(items.map((item) => (item === 'bad' ? Promise.reject(new Error('bad')) : `${item}!`))),
    );
    const [good, bad] = await Promise.allSettled([batches.ask('good'), batches.ask('bad')]);
    expect([good.status, bad.status]).toEqual(['fulfilled', 'rejected']);
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
