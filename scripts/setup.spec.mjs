import { describe, expect, it } from '@jest/globals';
import { timed } from './setup.mjs';

describe('making the checkout ready', () => {
  it('says what takes its time before it is done', async () => {
    const said = [];
    let sofar;
    await timed(
      (line) => said.push(line),
      async (begins) => {
        begins();
        sofar = [...said];
        return true;
      },
      'Building …',
      'Built',
    );
    expect(sofar).toEqual(['Building …']);
    expect(said).toEqual(['Building …', expect.stringMatching(/^Built in \d+\.\d s\.$/)]);
  });

  it('says nothing when nothing was to do', async () => {
    const said = [];
    await timed(
      (line) => said.push(line),
      async () => false,
      'Building …',
      'Built',
    );
    expect(said).toEqual([]);
  });
});
