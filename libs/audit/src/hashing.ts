import { createHmac } from 'node:crypto';

/** Values of one body that are written; the rest is left out, so that no caller decides how long a record takes. */
const mostValues = 1_000;
const deepest = 32;
/** Characters of a key's name. A longer one is no name that anything is known by, and is hashed. */
const longestName = 256;
const leftOut = '(left out)';

/** Hashes what must not be read in the records of one device, under the salt of that device. */
export class Hashing {
  constructor(private readonly salt: Buffer) {}

  /** `hmac-sha256:` and 64 hexadecimal digits: the same text is known again, and not read. */
  text(text: string): string {
    return `hmac-sha256:${createHmac('sha256', this.salt).update(text).digest('hex')}`;
  }

  /**
   * A body with every text in it hashed; numbers, booleans, null and the names of keys stay (contract 3.6), unless a
   * name is so long that it would make the record so.
   * @param clear keys of the body itself, whose values stay as well.
   */
  body(body: Record<string, unknown>, clear: readonly string[] = []): Record<string, unknown> {
    return this.entries(body, { values: mostValues }, 0, (key) => clear.includes(key));
  }

  private value(value: unknown, left: { values: number }, depth: number, isClear: boolean): unknown {
    left.values -= 1;
    if (left.values < 0 || depth > deepest) return leftOut;
    if (typeof value === 'string') return isClear ? value : this.text(value);
    if (typeof value !== 'object' || value === null) return value;
    if (!Array.isArray(value)) return this.entries(value, left, depth, () => isClear);
    return upTo(left.values, value).map((each) => this.value(each, left, depth + 1, isClear));
  }

  private entries(
    object: object,
    left: { values: number },
    depth: number,
    isClear: (key: string) => boolean,
  ): Record<string, unknown> {
    const some = upTo(left.values, Object.entries(object));
    return Object.fromEntries(
      some.map(([key, each]) => [this.name(key), this.value(each, left, depth + 1, isClear(key))]),
    );
  }

  private name(key: string): string {
    return key.length > longestName ? this.text(key) : key;
  }
}

/** One more than there is place for says that there were more. */
function upTo<T>(places: number, all: T[]): T[] {
  return all.slice(0, Math.max(0, places) + 1);
}
