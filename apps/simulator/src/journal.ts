import { randomBytes } from 'node:crypto';
import { appendFileSync, closeSync, existsSync, openSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import type { Entities } from './entities.js';

type Kind = keyof Entities;
/** One line of the file: the newest version of one entity, its removal, or the key that seals session tokens. */
type Line =
  | { [K in Kind]: { put: K; account: string; value: Entities[K] } }[Kind]
  | { drop: Kind; account: string; id: string }
  | { sealingKey: string };
type Put = Extract<Line, { put: Kind }>;

const compactAboveBytes = 64 * 1024 * 1024;

/**
 * The simulator's memory across restarts: one line per mutation, holding the whole entity, handed to the operating
 * system before the call is answered, so a killed process forgets nothing that it acknowledged. The last line may be
 * torn. Without a file it remembers nothing.
 */
export class Journal {
  /** Seals session tokens; kept, so that tokens outlive a restart. */
  readonly sealingKey: Buffer;
  /** The live entities by reference: what a compacted file consists of. */
  private readonly live = new Map<string, Put>();
  private descriptor: number | undefined;
  private bytes = 0;

  /** @throws Error when a line other than the last cannot be read. */
  constructor(private readonly file?: string) {
    let sealingKey = randomBytes(32).toString('base64');
    for (const line of file ? readLines(file) : []) {
      if ('sealingKey' in line) sealingKey = line.sealingKey;
      else if ('drop' in line) this.live.delete(`${line.drop}/${line.account}/${line.id}`);
      else this.live.set(`${line.put}/${line.account}/${line.value.id}`, line);
    }
    this.sealingKey = Buffer.from(sealingKey, 'base64');
    this.compact();
  }

  /** What was there when the file was read, in the order in which it was first written. */
  entries(): Iterable<Put> {
    return this.live.values();
  }

  put<K extends Kind>(kind: K, account: string, value: Entities[K]): void {
    const line = { put: kind, account, value } as Put;
    if (this.file) this.live.set(`${kind}/${account}/${value.id}`, line);
    this.append(line);
  }

  drop(kind: Kind, account: string, id: string): void {
    this.live.delete(`${kind}/${account}/${id}`);
    this.append({ drop: kind, account, id });
  }

  close(): void {
    if (this.descriptor !== undefined) closeSync(this.descriptor);
    this.descriptor = undefined;
  }

  private append(line: Line): void {
    if (this.descriptor === undefined) return;
    const text = `${JSON.stringify(line)}\n`;
    appendFileSync(this.descriptor, text);
    this.bytes += text.length;
    if (this.bytes > compactAboveBytes) this.compact();
  }

  /** Rewrites the file to what is alive, beside it first, so that a kill half way leaves the old one. */
  private compact(): void {
    if (!this.file) return;
    this.close();
    const lines: Line[] = [{ sealingKey: this.sealingKey.toString('base64') }, ...this.live.values()];
    const text = lines.map((line) => `${JSON.stringify(line)}\n`).join('');
    writeFileSync(`${this.file}.new`, text, { mode: 0o600 });
    renameSync(`${this.file}.new`, this.file);
    this.descriptor = openSync(this.file, 'a', 0o600);
    this.bytes = 0;
  }
}

function readLines(file: string): Line[] {
  if (!existsSync(file)) return [];
  const lines = readFileSync(file, 'utf8').split('\n');
  lines.pop(); // empty after a whole line, else the torn one: its call was never answered
  return lines.map((line, index) => {
    try {
      return JSON.parse(line) as Line;
    } catch (error) {
      throw new Error(`${file}: line ${index + 1} cannot be read`, { cause: error });
    }
  });
}
