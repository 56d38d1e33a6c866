import * as fs from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it, jest } from '@jest/globals';

/** What reached the disk, and in which order; only watched, nothing is faked. */
const steps: string[] = [];
const opened = new Map<number, string>();
jest.unstable_mockModule('node:fs', () => ({
  ...fs,
  openSync: (...args: Parameters<typeof fs.openSync>) => {
    const descriptor = fs.openSync(...args);
    opened.set(descriptor, String(args[0]));
    return descriptor;
  },
  fsyncSync: (descriptor: number) => {
    const path = opened.get(descriptor)!;
    steps.push(fs.statSync(path).isDirectory() ? `folder kept` : `${fs.readFileSync(path, 'utf8').trim()} kept`);
    fs.fsyncSync(descriptor);
  },
  renameSync: (...args: Parameters<typeof fs.renameSync>) => {
    steps.push('renamed');
    fs.renameSync(...args);
  },
}));
const { DataFolder } = await import('./data-folder.js');

describe('a file that the data folder keeps', () => {
  let path: string;
  beforeEach(() => {
    path = fs.mkdtempSync(join(tmpdir(), 'leasehold-folder-'));
    steps.length = 0;
    opened.clear();
  });
  afterEach(() => fs.rmSync(path, { recursive: true }));

  it('is made once, for its owner only', () => {
    expect(new DataFolder(path).keep('key', () => 'first')).toBe('first');
    expect(new DataFolder(path).keep('key', () => 'second')).toBe('first');
    expect(fs.statSync(join(path, 'key')).mode & 0o777).toBe(0o600);
    expect(fs.readdirSync(path)).toEqual(['key']);
  });

  it('outlives a power loss from the moment on that somebody has its text', () => {
    new DataFolder(path).keep('key', () => 'text');
    expect(steps).toEqual(['text kept', 'renamed', 'folder kept']);
  });

  it('is refused when it is empty: what is sealed under it would be lost by a new one', () => {
    fs.writeFileSync(join(path, 'key'), '\n');
    expect(() => new DataFolder(path).keep('key', () => 'second')).toThrow(
      `${join(path, 'key')} is empty, as a power loss may leave a file: put back what was in it, or give another folder in LEASEHOLD_DATA_DIR.`,
    );
    expect(fs.readFileSync(join(path, 'key'), 'utf8')).toBe('\n');
  });
});
