import { afterEach, beforeEach, expect, it } from '@jest/globals';
import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { hostname, tmpdir } from 'node:os';
import { join } from 'node:path';
import { save } from './results.js';
import { factsOf } from './facts.js';

let folder: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'bench-results-'));
});
afterEach(() => rmSync(folder, { recursive: true }));

it('keeps a run as a page, figures and pictures that name neither the machine nor a path of it', () => {
  const plot = { name: 'rate', title: 'Rate', unit: '/s', kind: 'lines' as const, categories: ['0'], series: [] };
  const sections = [{ title: 'Rate', head: ['', '/s'], rows: [['creds', '12']] }];
  const report = { sections, plots: [plot], data: { rate: 12.345678 } };
  expect(save('first', report, factsOf('scale'), { byOutcome: {} }, folder)).toBe('first.md');
  expect(readdirSync(folder).sort()).toEqual(['first-rate.svg', 'first.json', 'first.md']);
  const texts = readdirSync(folder).map((file) => readFileSync(join(folder, file), 'utf8'));
  for (const text of texts) {
    for (const place of [hostname(), process.cwd(), tmpdir()]) expect(text).not.toContain(place);
  }
  expect(JSON.parse(readFileSync(join(folder, 'first.json'), 'utf8'))).toMatchObject({
    measurement: 'scale',
    rate: 12.35,
    failed: { byOutcome: {} },
  });
});
