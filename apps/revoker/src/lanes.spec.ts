import { describe, expect, it } from '@jest/globals';
import { Lanes } from './lanes.js';

const takeAll = (lanes: Lanes, mountId: string) => {
  let count = 0;
  for (; lanes.room(mountId) > 0; count += 1) lanes.take(mountId);
  return count;
};

describe('the lanes of a revoker', () => {
  it('are never all taken by one mount', () => {
    const lanes = new Lanes();
    expect(takeAll(lanes, 'busy')).toBe(50);
    expect(lanes.room('other')).toBe(50);
  });

  it('have an end, however many mounts there are', () => {
    const lanes = new Lanes();
    const taken = Array.from({ length: 20 }, (_, mount) => takeAll(lanes, `mount ${mount}`));
    expect(taken.reduce((sum, count) => sum + count)).toBe(256);
  });

  it('are few for a mount whose AWS is silent, until it answers', () => {
    const lanes = new Lanes();
    lanes.take('silent');
    lanes.free('silent', false);
    expect(takeAll(lanes, 'silent')).toBe(4);
    lanes.free('silent', true);
    expect(takeAll(lanes, 'silent')).toBe(47);
  });

  it('are not overdrawn by a mount that falls silent while it has many', () => {
    const lanes = new Lanes();
    takeAll(lanes, 'silent');
    lanes.free('silent', false);
    expect(lanes.room('silent')).toBe(0);
  });
});
