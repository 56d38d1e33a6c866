import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

/** One line of an audit file, as far as journeys ask. */
export interface AuditRecord {
  time: string;
  type: 'request' | 'response';
  error?: string;
  auth: Record<string, unknown>;
  request: { id: string; operation: string; path: string; data: Record<string, unknown> } & Record<string, unknown>;
  response: { data: Record<string, unknown>; secret: { lease_id: string } } & Record<string, unknown>;
}

/** A folder of one spec; removed by `remove`. */
export class AuditFolder {
  readonly path = mkdtempSync(join(tmpdir(), 'leasehold-audit-'));

  file(name: string): string {
    return join(this.path, name);
  }

  remove(): void {
    rmSync(this.path, { recursive: true, force: true });
  }
}

/** Every line of the file, each of which must be one whole JSON object. */
export function recordsIn(file: string): AuditRecord[] {
  const lines = readFileSync(file, 'utf8').split('\n');
  if (lines.pop() !== '') throw new Error(`${file} ends in half a line.`);
  return lines.map((line) => JSON.parse(line) as AuditRecord);
}
