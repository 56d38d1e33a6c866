import { constants, writeSync } from 'node:fs';
import { type FileHandle, open, stat } from 'node:fs/promises';
import { setTimeout as after } from 'node:timers/promises';
import type { DeviceOptions } from './device-options.js';

/** Where the records of one device go. */
export interface AuditSink {
  /** Resolves when the line, which ends in a line feed, was handed to the operating system whole. Rejects when it was not. */
  append(line: string): Promise<void>;
  /** Looks at the next write whether the file is still the one of that path. */
  reopen(): void;
  /** After what was begun. */
  close(): Promise<void>;
}

export function sinkOf(options: Pick<DeviceOptions, 'filePath' | 'mode'>): AuditSink {
  return options.filePath === 'stdout' ? new StdoutSink() : new FileSink(options.filePath, options.mode);
}

/** How long a write may take, milliseconds: a disk that hangs counts as one that fails. */
const writesWithinMs = 5_000;

/** How long records may go to a file that was renamed or removed meanwhile, milliseconds. */
const looksEveryMs = 1_000;

/** Appending a record, and adding to one that another process appends at this moment, are one step each. */
const appending = constants.O_APPEND | constants.O_CREAT | constants.O_WRONLY | constants.O_NONBLOCK;

/**
 * A file, opened when it is first written and again when another one is at its path, so that it can be rotated. What is
 * appended while a write is under way goes together as the next one: one write at a time, of whole lines, which the kernel
 * puts at the end of the file in one step. So lines of several processes do not mix either.
 */
export class FileSink implements AuditSink {
  private file: FileHandle | null = null;
  private lookedAt = -Infinity;
  private waiting: { line: string; written: () => void; failed: (error: unknown) => void }[] = [];
  private flushing: Promise<void> | null = null;
  /** A write that took too long and is not over. */
  private overdue: Promise<unknown> | null = null;
  /** The disk took a part of a line: what comes next begins a line of its own. */
  private isTorn = false;

  constructor(
    private readonly path: string,
    private readonly mode: number,
  ) {}

  append(line: string): Promise<void> {
    return new Promise((written, failed) => {
      this.waiting.push({ line, written, failed });
      this.flushing ??= this.flush();
    });
  }

  reopen(): void {
    this.lookedAt = -Infinity;
  }

  async close(): Promise<void> {
    await this.flushing;
    await this.leave();
  }

  private async flush(): Promise<void> {
    while (this.waiting.length > 0) {
      const batch = this.waiting;
      this.waiting = [];
      try {
        await this.inTime(batch.map(({ line }) => line).join(''));
        for (const { written } of batch) written();
      } catch (error) {
        for (const { failed } of batch) failed(error);
      }
    }
    this.flushing = null;
  }

  private async inTime(lines: string): Promise<void> {
    if (this.overdue) throw new Error(`A write to ${this.path} is not over for ${writesWithinMs} ms and more.`);
    const writing = this.write(lines);
    const ended = new AbortController();
    const late = after(writesWithinMs, true, { signal: ended.signal, ref: false }).catch(() => false);
    if ((await Promise.race([writing.finally(() => ended.abort()), late])) !== true) return;
    this.overdue = writing.catch(() => undefined).finally(() => (this.overdue = null));
    throw new Error(`A write to ${this.path} took longer than ${writesWithinMs} ms.`);
  }

  private async write(lines: string): Promise<void> {
    const file = await this.current();
    const bytes = Buffer.from(this.isTorn ? `\n${lines}` : lines);
    const { bytesWritten } = await file.write(bytes);
    if (bytesWritten > 0) this.isTorn = bytes[bytesWritten - 1] !== 0x0a;
    if (bytesWritten < bytes.length) throw new Error(`${this.path} took a part of a record only: the disk is full.`);
  }

  /** The file at the path, made where there is none; its folder is not. */
  private async current(): Promise<FileHandle> {
    const now = performance.now();
    if (this.file && now - this.lookedAt < looksEveryMs) return this.file;
    if (this.file && !(await this.isAtPath(this.file))) await this.leave();
    this.file ??= await this.enter();
    this.lookedAt = now;
    return this.file;
  }

  private async isAtPath(file: FileHandle): Promise<boolean> {
    const [own, there] = await Promise.all([file.stat(), stat(this.path).catch(() => null)]);
    return own.ino === there?.ino && own.dev === there.dev;
  }

  private async enter(): Promise<FileHandle> {
    const file = await open(this.path, appending, this.mode);
    try {
      const found = await file.stat();
      if (!found.isFile() && !found.isCharacterDevice()) throw new Error(`${this.path} is not a file.`);
    } catch (error) {
      await file.close();
      throw error;
    }
    this.isTorn = false;
    return file;
  }

  private async leave(): Promise<void> {
    const { file } = this;
    this.file = null;
    await file?.close().catch(() => undefined);
  }
}

/**
 * Standard output, which log lines go to as well: written at once, as they are, so that neither ever begins inside the other.
 */
class StdoutSink implements AuditSink {
  private readonly pause = new Int32Array(new SharedArrayBuffer(4));

  async append(line: string): Promise<void> {
    const bytes = Buffer.from(line);
    const closesAt = performance.now() + writesWithinMs;
    for (let at = 0; at < bytes.length;) {
      try {
        at += writeSync(1, bytes, at);
      } catch (error) {
        // Who reads is slow, and a record that is begun is ended.
        if ((error as NodeJS.ErrnoException).code !== 'EAGAIN' || performance.now() > closesAt) throw error;
        Atomics.wait(this.pause, 0, 0, 5);
      }
    }
  }

  reopen(): void {}

  async close(): Promise<void> {}
}
