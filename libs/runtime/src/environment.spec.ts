import { chmodSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { z } from 'zod';
import { readEnvironment } from './environment.js';

describe('a variable given as a file', () => {
  let folder: string;
  const schema = z.object({ A_KEY: z.string(), A_PUBLIC_KEY: z.string().optional(), A_CA: z.string().optional() });

  beforeAll(() => {
    folder = mkdtempSync(join(tmpdir(), 'leasehold-environment-'));
  });
  afterAll(() => rmSync(folder, { recursive: true }));

  function file(mode: number): string {
    const path = join(folder, `key-${mode.toString(8)}`);
    writeFileSync(path, 'the key\n');
    chmodSync(path, mode); // whatever the umask
    return path;
  }

  function read(env: NodeJS.ProcessEnv): [string, string[]] {
    const warnings: string[] = [];
    const { A_KEY } = readEnvironment('service', schema, env, (sentence) => warnings.push(sentence));
    return [A_KEY, warnings];
  }

  it('is what the file holds', () => {
    expect(read({ A_KEY_FILE: file(0o600) })).toEqual(['the key', []]);
    expect(read({ A_KEY_FILE: file(0o640) })).toEqual(['the key', []]);
  });

  it('is warned of where every user of the machine may read it', () => {
    const warning =
      'Every user of this machine may read the file in A_KEY_FILE: take that right away with "chmod o-r".';
    expect(read({ A_KEY_FILE: file(0o644) })).toEqual(['the key', [warning]]);
    // What anybody may know, and what was not read, is nobody's worry.
    expect(read({ A_KEY: 'k', A_PUBLIC_KEY_FILE: file(0o644), A_CA_FILE: file(0o644) })).toEqual(['k', []]);
    expect(read({ A_KEY: 'k', A_KEY_FILE: file(0o644) })).toEqual(['k', []]);
  });

  it('is named when the file cannot be read', () => {
    expect(() => read({ A_KEY_FILE: join(folder, 'none') })).toThrow(
      'The service does not start: A_KEY_FILE cannot be read; A_KEY is missing.',
    );
  });
});
