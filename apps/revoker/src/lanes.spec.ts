import { describe, expect, it } from '@jest/globals';
import { Lanes } from './lanes.js';

const taken = (lanes: Lanes, mountId: string) => {
  let count = 0;
  while (lanes.take(mountId)) count += 1;
  return count;
};

describe('the lanes of a revoker', () => {
  it('are never all taken by one mount', () => {
    const lanes = new Lanes();
    expect(taken(lanes, 'busy')).toBe(32);
    expect(lanes.full()).toEqual(['busy']);
    expect(lanes.take('other')).toBe(true);
  });

  it('are few for a mount whose AWS is silent, until it answers', () => {
    const lanes = new Lanes();
    lanes.take('silent');
    lanes.free('silent', false);
    expect(taken(lanes, 'silent')).toBe(4);
    lanes.free('silent', true);
    expect(taken(lanes, 'silent')).toBe(29);
  });
});
