import { describe, expect, it } from '@jest/globals';
import { Lanes } from './lanes.js';

/** Takes `count` lanes; those that have to wait in line are answered later. */
const take = (lanes: Lanes, mountId: string, count: number) => {
  const answers: (boolean | 'waits')[] = Array.from({ length: count }, () => 'waits');
  for (let each = 0; each < count; each += 1) void lanes.take(mountId).then((free) => (answers[each] = free));
  return answers;
};
const settled = () => new Promise((resolve) => setImmediate(resolve));
const count = <T>(answers: T[], wanted: T) => answers.filter((answer) => answer === wanted).length;

describe('the lanes of a revoker', () => {
  it('are 50 for one mount, the others wait in line, and another mount does not', async () => {
    const lanes = new Lanes();
    const answers = take(lanes, 'busy', 60);
    await settled();
    expect([count(answers, true), count(answers, 'waits')]).toEqual([50, 10]);
    expect(lanes.full()).toEqual(['busy']);
    expect(await lanes.take('other')).toBe(true);
    lanes.free('busy', true);
    await settled();
    expect([count(answers, true), count(answers, 'waits')]).toEqual([51, 9]);
  });

  it('are few for a mount whose AWS is silent, nobody waits for one, and all are back when it answers', async () => {
    const lanes = new Lanes();
    const answers = take(lanes, 'silent', 60);
    lanes.free('silent', false);
    await settled();
    expect(count(answers, false)).toBe(10);
    for (let held = 49; held > 0; held -= 1) lanes.free('silent', false);
    const probes = take(lanes, 'silent', 6);
    await settled();
    expect([count(probes, true), count(probes, false)]).toEqual([4, 2]);
    lanes.free('silent', true);
    const again = take(lanes, 'silent', 50);
    await settled();
    expect([count(again, true), count(again, 'waits')]).toEqual([47, 3]);
  });

  it('are all free again when the work is done', async () => {
    const lanes = new Lanes();
    take(lanes, 'mount', 80);
    for (let done = 0; done < 80; done += 1) lanes.free('mount', true);
    await settled();
    expect(lanes.full()).toEqual([]);
    expect(count(take(lanes, 'mount', 50), 'waits')).toBe(50); // answered in a moment
    await settled();
    expect(lanes.full()).toEqual(['mount']);
  });
});
