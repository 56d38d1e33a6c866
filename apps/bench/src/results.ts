import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { drawn } from './plots.js';
import { asMarkdown, type Report, type Facts } from './report.js';

/** The figures of a run for programs. @throws Error when the file cannot be written. */
export function writeJson(file: string, report: Report, where: Facts, failed: object): void {
  writeFileSync(file, `${JSON.stringify({ ...where, ...report.data, failed }, rounded, 1)}\n`);
}

/**
 * Keeps a run as a page, its figures and its pictures, all named after it, in `folder`.
 * @returns the page's name. @throws Error when they cannot be written.
 */
export function save(name: string, report: Report, where: Facts, failed: object, folder: string): string {
  mkdirSync(folder, { recursive: true });
  const fileOf = (suffix: string) => `${name}${suffix}`;
  for (const plot of report.plots) writeFileSync(join(folder, fileOf(`-${plot.name}.svg`)), `${drawn(plot)}\n`);
  writeJson(join(folder, fileOf('.json')), report, where, failed);
  writeFileSync(
    join(folder, fileOf('.md')),
    asMarkdown(report, where, (plot) => fileOf(`-${plot.name}.svg`)),
  );
  return fileOf('.md');
}

/** Four digits are more than anything here is measured to. */
const rounded = (_: string, value: unknown) =>
  typeof value === 'number' && !Number.isInteger(value) ? Number(value.toPrecision(4)) : value;
