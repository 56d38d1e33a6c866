import { describe, expect, it } from '@jest/globals';
import { brokenSource } from '../support/broken-copy.js';
import { broken, runModelOn } from './broken.js';

/** In `npm test` one; `npm run test:model -- --broken` has them all. */
const chosen = process.env.MODEL_BROKEN ? broken : broken.slice(0, 1);

describe('a build that is broken on purpose', () => {
  it.each(broken)('can still be broken: $name', async (build) => {
    expect(await brokenSource(build)).toContain(build.to);
  });

  it.each(chosen)(
    'is found out by the model: $name',
    async (build) => {
      const { red, said } = await runModelOn(build);
      const [, found = 'NOT found out'] = /● two issuers.*\n\n\s*(.*)/.exec(said) ?? [];
      const [, how] = /✕ break no promise when (.*) \(/.exec(said) ?? /--path (\S+)/.exec(said) ?? [];
      process.stderr.write(`    ${build.name}: ${how}: ${found}\n`);
      expect(red).toBe(true);
    },
    600_000,
  );
});
