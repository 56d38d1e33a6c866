/** A piece of a parsed template. The arms of an `if` are tried in order; an `else` is an arm whose condition is null. */
export type TemplateNode =
  | { kind: 'text'; text: string }
  | { kind: 'output'; value: Expression }
  | { kind: 'if'; arms: { condition: Expression | null; body: TemplateNode[] }[] };

/** What an action computes. A pipe is gone after parsing: `a | f x` is the call `f x a`. */
export type Expression =
  | { kind: 'literal'; value: string | number | boolean }
  | { kind: 'field'; name: string }
  | { kind: 'call'; name: string; arguments: Expression[] };

/** A template that does not parse; the message is Go's form: `template: template:<line>: <fault>`. */
export class TemplateSyntaxError extends Error {}

type TokenKind = 'string' | 'raw' | 'number' | 'field' | 'word' | 'punctuation';
interface Token {
  kind: TokenKind;
  text: string;
}
type Piece = { text: string } | { tokens: Token[]; line: number };

const blanks = ' \\t\\r\\n';
const opening = new RegExp(`\\{\\{(-(?=[${blanks}]))?`, 'g');
const closing = new RegExp(`[${blanks}]+-\\}\\}|\\}\\}`, 'y');
const leading = new RegExp(`^[${blanks}]+`);
const trailing = new RegExp(`[${blanks}]+$`);
const comment = new RegExp(`[${blanks}]*/\\*[^]*?\\*/(?=[${blanks}]+-\\}\\}|\\}\\})`, 'y');
const token = new RegExp(
  [
    `[${blanks}]+`,
    '(?<string>"(?:[^"\\\\\\n]|\\\\.)*")',
    '(?<raw>`[^`]*`)',
    '(?<number>[+-]?(?:0|[1-9]\\d*)(?![\\w.]))',
    '(?<field>\\.[A-Za-z_]\\w*)',
    '(?<word>[A-Za-z_]\\w*)',
    '(?<punctuation>[()|])',
  ].join('|'),
  'y',
);

const refusedWords = new Set(['range', 'with', 'define', 'template', 'block', 'break', 'continue', 'nil']);

/**
 * Parses the part of Go's text/template language that contract.md 2.6 names: text, `if`/`else if`/`else`/`end`, calls,
 * pipes, parentheses, fields, strings, integers, comments and trim markers.
 * @param functions the names that may be called
 * @param fields the names that may stand after a dot
 * @throws TemplateSyntaxError
 */
export function parseTemplate(
  text: string,
  functions: ReadonlySet<string>,
  fields: ReadonlySet<string>,
): TemplateNode[] {
  return new Parser(split(text), functions, fields).parse();
}

function syntaxError(line: number, fault: string): TemplateSyntaxError {
  return new TemplateSyntaxError(`template: template:${line}: ${fault}`);
}

/** Cuts the template into texts and actions, with the trim markers already applied to the texts beside them. */
function split(text: string): Piece[] {
  const pieces: Piece[] = [];
  let at = 0;
  let trimNext = false;
  const pushText = (end: number, trimEnd: boolean) => {
    let piece = text.slice(at, end);
    if (trimNext) piece = piece.replace(leading, '');
    if (trimEnd) piece = piece.replace(trailing, '');
    if (piece !== '') pieces.push({ text: piece });
  };
  for (;;) {
    opening.lastIndex = at;
    const open = opening.exec(text);
    pushText(open ? open.index : text.length, open?.[1] !== undefined);
    if (!open) return pieces;
    const line = text.slice(0, open.index).split('\n').length;
    const action = readAction(text, opening.lastIndex, line);
    pieces.push(...action.pieces);
    trimNext = action.trimNext;
    at = action.end;
  }
}

/** Reads from behind `{{` to behind `}}`; braces inside a string do not end the action. */
function readAction(text: string, start: number, line: number): { pieces: Piece[]; trimNext: boolean; end: number } {
  const tokens: Token[] = [];
  comment.lastIndex = start;
  const isComment = comment.test(text);
  let at = isComment ? comment.lastIndex : start;
  for (;;) {
    closing.lastIndex = at;
    const close = closing.exec(text);
    if (close) {
      const pieces = isComment ? [] : [{ tokens, line }];
      return { pieces, trimNext: close[0] !== '}}', end: closing.lastIndex };
    }
    token.lastIndex = at;
    const found = token.exec(text);
    if (!found) throw syntaxError(line, unreadable(text[at]));
    const [kind, value] = Object.entries(found.groups ?? {}).find(([, group]) => group !== undefined) ?? [];
    if (kind && value) tokens.push({ kind: kind as TokenKind, text: value });
    at = token.lastIndex;
  }
}

function unreadable(character: string | undefined): string {
  if (character === undefined) return 'unclosed action';
  return character === '"' || character === '`' ? 'unterminated quoted string' : `unexpected "${character}" in action`;
}

class Parser {
  private position = 0;
  private tokens: Token[] = [];
  private line = 1;

  constructor(
    private readonly pieces: Piece[],
    private readonly functions: ReadonlySet<string>,
    private readonly fields: ReadonlySet<string>,
  ) {}

  parse(): TemplateNode[] {
    const { nodes, endedBy } = this.block();
    if (endedBy !== 'EOF') throw this.fault(`unexpected {{${endedBy}}}`);
    return nodes;
  }

  /** Nodes up to the `else` or `end` that belongs to somebody further out, whose word is taken off. */
  private block(): { nodes: TemplateNode[]; endedBy: 'else' | 'end' | 'EOF' } {
    const nodes: TemplateNode[] = [];
    for (let piece = this.pieces[this.position]; piece; piece = this.pieces[this.position]) {
      this.position++;
      if ('text' in piece) {
        nodes.push({ kind: 'text', text: piece.text });
        continue;
      }
      this.tokens = [...piece.tokens];
      this.line = piece.line;
      const word = this.tokens[0]?.kind === 'word' ? this.tokens[0].text : '';
      if (word === 'else' || word === 'end') {
        this.tokens.shift();
        return { nodes, endedBy: word };
      }
      if (word === 'if') {
        this.tokens.shift();
        nodes.push(this.conditional());
      } else {
        nodes.push({ kind: 'output', value: this.wholePipeline() });
      }
    }
    return { nodes, endedBy: 'EOF' };
  }

  private conditional(): TemplateNode {
    const arms: { condition: Expression | null; body: TemplateNode[] }[] = [];
    let condition: Expression | null = this.wholePipeline();
    for (;;) {
      const { nodes, endedBy } = this.block();
      if (endedBy === 'EOF') throw this.fault('unexpected EOF, an {{if}} has no {{end}}');
      arms.push({ condition, body: nodes });
      if (endedBy === 'end') {
        this.requireEnd();
        return { kind: 'if', arms };
      }
      if (condition === null) throw this.fault('expected end; found {{else}}');
      if (this.tokens[0]?.text === 'if') {
        this.tokens.shift();
        condition = this.wholePipeline();
      } else {
        this.requireEnd();
        condition = null;
      }
    }
  }

  private wholePipeline(): Expression {
    const value = this.pipeline();
    this.requireEnd();
    return value;
  }

  private requireEnd(): void {
    const [next] = this.tokens;
    if (next) throw this.fault(`unexpected "${next.text}" in action`);
  }

  private pipeline(): Expression {
    let value = this.command(null);
    while (this.take('|')) value = this.command(value);
    return value;
  }

  /** A function with its arguments, what was piped to it being the last, or a single value. */
  private command(piped: Expression | null): Expression {
    const isName = this.tokens[0]?.kind === 'word';
    const head = this.operand();
    if (!head) throw this.fault('missing value for command');
    const given: Expression[] = [];
    for (let next = this.operand(); next; next = this.operand()) given.push(next);
    if (piped) given.push(piped);
    if (given.length === 0) return head;
    if (!isName || head.kind !== 'call') throw this.fault("can't give argument to non-function");
    return { ...head, arguments: given };
  }

  private operand(): Expression | null {
    const [next] = this.tokens;
    if (!next || next.text === ')' || next.text === '|') return null;
    this.tokens.shift();
    switch (next.kind) {
      case 'string':
        return { kind: 'literal', value: this.unquote(next.text) };
      case 'raw':
        return { kind: 'literal', value: next.text.slice(1, -1) };
      case 'number':
        return { kind: 'literal', value: Number(next.text) };
      case 'field':
        return { kind: 'field', name: this.known(this.fields, next.text.slice(1), 'field') };
      case 'word':
        return this.word(next.text);
      case 'punctuation': {
        const inner = this.pipeline();
        if (!this.take(')')) throw this.fault('unclosed left paren');
        return inner;
      }
    }
  }

  private word(text: string): Expression {
    if (text === 'true' || text === 'false') return { kind: 'literal', value: text === 'true' };
    if (refusedWords.has(text)) throw this.fault(`"${text}" is not supported in a username template`);
    return { kind: 'call', name: this.known(this.functions, text, 'function'), arguments: [] };
  }

  private known(names: ReadonlySet<string>, name: string, what: string): string {
    if (!names.has(name)) throw this.fault(`${what} "${name}" not defined`);
    return name;
  }

  private unquote(quoted: string): string {
    try {
      return String(JSON.parse(quoted));
    } catch {
      throw this.fault(`unsupported escape or control character in ${quoted}`);
    }
  }

  private take(text: string): boolean {
    if (this.tokens[0]?.kind !== 'punctuation' || this.tokens[0].text !== text) return false;
    this.tokens.shift();
    return true;
  }

  private fault(fault: string): TemplateSyntaxError {
    return syntaxError(this.line, fault);
  }
}
