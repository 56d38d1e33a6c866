import { mkdirSync, mkdtempSync, readFileSync, renameSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, it } from '@jest/globals';
import { FileSink } from './audit-sink.js';

let folder: string;
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'leasehold-sink-'));
});
afterAll(() => rmSync(folder, { recursive: true }));

const lineOf = (writer: number, n: number) => `${JSON.stringify({ writer, n, text: 'x'.repeat((n * 37) % 9_000) })}\n`;

it('keeps every line whole and in its order when several write to one file', async () => {
  const file = join(folder, 'shared');
  const sinks = [0, 1, 2].map(() => new FileSink(file, 0o600));
  await Promise.all(
    sinks.flatMap((sink, writer) => Array.from({ length: 700 }, (_, n) => sink.append(lineOf(writer, n)))),
  );
  await Promise.all(sinks.map((sink) => sink.close()));
  const lines = readFileSync(file, 'utf8').trimEnd().split('\n');
  const read = lines.map((line) => JSON.parse(line) as { writer: number; n: number });
  for (const writer of [0, 1, 2]) {
    const own = read.filter((line) => line.writer === writer).map((line) => line.n);
    expect(own).toEqual(Array.from({ length: 700 }, (_, n) => n));
  }
});

it('makes the file for its owner alone, and leaves one that is there as it is', async () => {
  const [made, found] = [join(folder, 'made'), join(folder, 'found')];
  writeFileSync(found, 'kept\n', { mode: 0o640 });
  for (const file of [made, found]) {
    const sink = new FileSink(file, 0o600);
    await sink.append('a\n');
    await sink.close();
  }
  expect([made, found].map((file) => statSync(file).mode & 0o777)).toEqual([0o600, 0o640]);
  expect(readFileSync(found, 'utf8')).toBe('kept\na\n');
});

it('writes the next line to a new file when the old one was renamed and it was told to look', async () => {
  const file = join(folder, 'rotated');
  const sink = new FileSink(file, 0o600);
  await sink.append('before\n');
  renameSync(file, `${file}.1`);
  sink.reopen();
  await sink.append('after\n');
  await sink.close();
  expect([readFileSync(`${file}.1`, 'utf8'), readFileSync(file, 'utf8')]).toEqual(['before\n', 'after\n']);
});

it('refuses what it cannot write, line by line, and goes on when it can', async () => {
  const file = join(folder, 'broken');
  mkdirSync(file);
  const sink = new FileSink(file, 0o600);
  const refused = await Promise.allSettled([sink.append('a\n'), sink.append('b\n')]);
  expect(refused.map((each) => each.status)).toEqual(['rejected', 'rejected']);
  rmSync(file, { recursive: true });
  await sink.append('c\n');
  await sink.close();
  expect(readFileSync(file, 'utf8')).toBe('c\n');
  await expect(new FileSink('/dev/full', 0o600).append('a\n')).rejects.toThrow('no space left');
});
