/** A value of HCL: of policies nothing else is asked (contract.md 3.4; docs/decisions/0016). */
export type HclValue = string | number | boolean | null | HclValue[] | HclBody;

/** `a = 1`, or a block: `path "x" { … }`. */
export interface HclEntry {
  /** The first is the name, what follows are a block's labels. */
  keys: string[];
  value: HclValue;
  /** Where the entry begins: an offset, for `HclText.fault` and `HclText.lineOf`. */
  at: number;
}

/** What stands between braces, or a whole text: its entries as they came, doubled ones too. */
export class HclBody {
  constructor(readonly entries: HclEntry[]) {}
}

/** A text that is no HCL: the message says where, in lines and columns from 1. */
export class HclFault extends Error {}

/** Deeper is no policy, and would be a way to exhaust the stack. */
const deepest = 32;

const word = /[\p{L}_][\p{L}\p{Nd}_.-]*/uy;
const figure = /-?\d+(?:\.\d+)?(?:[eE][+-]?\d+)?(?![\p{L}\p{Nd}_.])/uy;
const anchor = /<<(-?)([\p{L}\p{Nd}_]+)\r?\n/uy;

const shortEscapes: Record<string, string> = {
  a: '\x07',
  b: '\b',
  f: '\f',
  n: '\n',
  r: '\r',
  t: '\t',
  v: '\v',
  '/': '/',
  '\\': '\\',
  '"': '"',
};

/** Base and digits of the escapes that spell a character by its number; `\101` has its digits at once. */
const numbered: Record<string, { base: 8 | 16; digits: number }> = {
  x: { base: 16, digits: 2 },
  u: { base: 16, digits: 4 },
  U: { base: 16, digits: 8 },
};

/**
 * Reads the HCL of policies, which is HCL 1. JSON, once `JSON.parse` has found no fault in it, is read by the same rules, so
 * that none of its doubled keys is lost.
 */
export class HclText {
  private at = 0;
  private depth = 0;
  private json = false;

  constructor(private readonly text: string) {}

  /** @throws HclFault */
  read(): HclBody {
    if (this.text.includes('\0')) throw this.fault('a NUL character', this.text.indexOf('\0'));
    this.skipSpace();
    if (this.text[this.at] !== '{') return this.body(null);
    this.mustBeJson();
    this.json = true;
    const value = this.value();
    this.skipSpace();
    if (this.at < this.text.length || !(value instanceof HclBody)) throw this.fault('the text goes on behind its end');
    return value;
  }

  /** The fault at an offset: `At 2:7: …`. */
  fault(what: string, at = this.at): HclFault {
    const before = this.text.slice(0, at).split('\n');
    return new HclFault(`At ${before.length}:${Array.from(before.at(-1)!).length + 1}: ${what}`);
  }

  lineOf(at: number): number {
    return this.text.slice(0, at).split('\n').length;
  }

  private mustBeJson(): void {
    try {
      JSON.parse(this.text);
    } catch (error) {
      const [, position] = /at position (\d+)/.exec((error as Error).message) ?? [];
      throw this.fault('the text begins like JSON, and is none', Number(position ?? this.text.length));
    }
  }

  /** Entries up to the brace that closes them, or to the end. */
  private body(opened: number | null): HclBody {
    const entries: HclEntry[] = [];
    for (;;) {
      this.skipSpace();
      const next = this.text[this.at];
      if (next === undefined) {
        if (opened !== null) throw this.fault('a block that is not closed', opened);
        return new HclBody(entries);
      }
      if (next === '}' && opened !== null) {
        this.at += 1;
        return new HclBody(entries);
      }
      entries.push(this.entry());
      this.skipSpace();
      if (opened !== null && this.text[this.at] === ',') this.at += 1;
    }
  }

  private entry(): HclEntry {
    const { at } = this;
    const keys = [this.key()];
    for (;;) {
      this.skipSpace();
      const next = this.text[this.at];
      if (next === '{') return { keys, value: this.value(), at };
      if (next === (this.json ? ':' : '=')) {
        if (keys.length > 1) throw this.fault('a block with labels has no equals sign');
        this.at += 1;
        this.skipSpace();
        return { keys, value: this.value(), at };
      }
      if (next === undefined) throw this.fault('the text ends within an entry');
      keys.push(this.key());
    }
  }

  private key(): string {
    if (this.text[this.at] === '"') return this.quoted();
    const found = this.take(word);
    if (found === null) throw this.fault('expected a name or a quoted text');
    return found[0];
  }

  private value(): HclValue {
    const { at } = this;
    switch (this.text[at]) {
      case '"':
        return this.quoted();
      case '<':
        return this.heredoc();
      case '[':
        return this.nested(() => this.list(at));
      case '{':
        this.at += 1;
        return this.nested(() => this.body(at));
      default: {
        const number = this.take(figure);
        if (number) return Number(number[0]);
        const named = this.take(word)?.[0];
        if (named === 'true' || named === 'false') return named === 'true';
        if (named === 'null') return null;
        throw this.fault('expected a value', at);
      }
    }
  }

  private nested<Value>(read: () => Value): Value {
    if (this.depth === deepest) throw this.fault('nested too deeply');
    this.depth += 1;
    const value = read();
    this.depth -= 1;
    return value;
  }

  private list(opened: number): HclValue[] {
    const values: HclValue[] = [];
    this.at += 1;
    for (;;) {
      this.skipSpace();
      const next = this.text[this.at];
      if (next === undefined) throw this.fault('a list that is not closed', opened);
      if (next === ']') {
        this.at += 1;
        return values;
      }
      values.push(this.value());
      this.skipSpace();
      const after = this.text[this.at];
      if (after === ',') this.at += 1;
      else if (after !== undefined && after !== ']') throw this.fault('expected a comma or the end of the list');
    }
  }

  private quoted(): string {
    const opened = this.at;
    let read = '';
    for (let at = opened + 1; ; at += 1) {
      const character = this.text[at];
      if (character === undefined || character === '\n') throw this.fault('a text that is not closed', opened);
      if (character === '"') {
        this.at = at + 1;
        return read;
      }
      if (character === '\\') {
        const escape = this.escape(at);
        read += escape.character;
        at = escape.last;
      } else read += character;
    }
  }

  /** The escape whose backslash is at `at`; `last` is the offset of its last character. */
  private escape(at: number): { character: string; last: number } {
    const kind = this.text[at + 1] ?? '';
    const short = shortEscapes[kind];
    if (short !== undefined) return { character: short, last: at + 1 };
    const octal = /[0-7]/.test(kind);
    const { base, digits } = octal ? { base: 8, digits: 3 } : (numbered[kind] ?? { base: 16, digits: 0 });
    const first = octal ? at + 1 : at + 2;
    const number = this.text.slice(first, first + digits);
    const known = digits > 0 && number.length === digits && (base === 8 ? /^[0-7]+$/ : /^[0-9a-f]+$/i).test(number);
    const point = Number.parseInt(number, base);
    if (!known || point === 0 || point > 0x10ffff) throw this.fault('an escape that is none', at);
    return { character: String.fromCodePoint(point), last: first + digits - 1 };
  }

  private heredoc(): string {
    const opened = this.at;
    const [, indented, name] = this.take(anchor) ?? [];
    if (!name) throw this.fault('expected a heredoc: <<NAME and a line end', opened);
    const lines: string[] = [];
    while (this.at < this.text.length) {
      const end = this.text.indexOf('\n', this.at);
      const line = this.text.slice(this.at, end < 0 ? undefined : end);
      this.at = end < 0 ? this.text.length : end + 1;
      if (line.trim() === name) return indented ? withoutIndent(lines) : lines.map((each) => `${each}\n`).join('');
      lines.push(line);
    }
    throw this.fault('a heredoc that is not closed', opened);
  }

  private skipSpace(): void {
    for (;;) {
      while (' \t\r\n'.includes(this.text[this.at] ?? 'end')) this.at += 1;
      const isLine = this.text[this.at] === '#' || this.text.startsWith('//', this.at);
      if (!isLine && !this.text.startsWith('/*', this.at)) return;
      const end = this.text.indexOf(isLine ? '\n' : '*/', this.at + (isLine ? 1 : 2));
      if (end < 0 && !isLine) throw this.fault('a comment that is not closed');
      this.at = end < 0 ? this.text.length : end + (isLine ? 1 : 2);
    }
  }

  private take(expression: RegExp): RegExpExecArray | null {
    expression.lastIndex = this.at;
    const found = expression.exec(this.text);
    if (found) this.at = expression.lastIndex;
    return found;
  }
}

/** `<<-NAME`: what all lines are indented by is not theirs. */
function withoutIndent(lines: string[]): string {
  const indents = lines.filter((line) => line.trim() !== '').map((line) => /^[ \t]*/.exec(line)![0].length);
  const indent = Math.min(...indents, Number.MAX_SAFE_INTEGER);
  return lines.map((line) => `${line.slice(indent)}\n`).join('');
}
