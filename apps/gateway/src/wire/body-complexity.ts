import { InvalidRequest } from '#libs/contracts';
import type { WireLimits } from './wire-limits.js';

/** Bounds of what one body holds. */
type Limits = Pick<WireLimits, 'strings' | 'parsedBytes' | 'depth'>;

/** What values take beside the length of texts, estimated as a peer of the contract does it. */
const cost = { object: 88, array: 40, string: 32, number: 24, word: 17 };

const quote = 0x22;
const backslash = 0x5c;
const ampersand = 0x26;

/**
 * Refuses a text that would be expensive to parse, before it is parsed and without keeping anything of it (contract 1.4).
 * What is no JSON passes: the parser says so better.
 * @throws InvalidRequest
 */
export function refuseComplexJson(text: Uint8Array, limits: Limits): void {
  let [strings, bytes, depth] = [0, 0, 0];
  for (let at = 0; at < text.length; at += 1) {
    switch (text[at]) {
      case quote: {
        const end = endOfString(text, at);
        strings += 1;
        bytes += cost.string + end - at - 1;
        at = end;
        if (strings > limits.strings) throw tooComplex('number of strings');
        break;
      }
      case 0x7b: // {
      case 0x5b: // [
        depth += 1;
        bytes += text[at] === 0x7b ? cost.object : cost.array;
        if (depth > limits.depth) throw tooComplex('depth');
        break;
      case 0x7d: // }
      case 0x5d: // ]
        depth -= 1;
        break;
      case 0x74: // true
      case 0x66: // false
      case 0x6e: // null
        bytes += cost.word;
        break;
      default:
        if (!isOfNumber(text[at]!)) break;
        bytes += cost.number;
        while (isOfNumber(text[at + 1]!)) at += 1;
    }
    if (bytes > limits.parsedBytes) throw tooComplex('estimated memory limits');
  }
}

/** Where the text that begins with the quote at `start` has its closing one; the end, if it has none. */
function endOfString(text: Uint8Array, start: number): number {
  for (let end = text.indexOf(quote, start + 1); end >= 0; end = text.indexOf(quote, end + 1)) {
    let escapes = 0;
    while (text[end - 1 - escapes] === backslash) escapes += 1;
    if (escapes % 2 === 0) return end;
  }
  return text.length;
}

/** Digits, and what else stands in numbers. */
function isOfNumber(byte: number): boolean {
  return (
    (byte >= 0x30 && byte <= 0x39) || byte === 0x2d || byte === 0x2b || byte === 0x2e || byte === 0x65 || byte === 0x45
  );
}

/**
 * The same of a form: names and values are its strings.
 * @throws InvalidRequest
 */
export function refuseComplexForm(text: Uint8Array, limits: Limits): void {
  let strings = 2;
  for (let at = text.indexOf(ampersand); at >= 0; at = text.indexOf(ampersand, at + 1)) {
    strings += 2;
    if (strings > limits.strings) throw tooComplex('number of strings', 'form');
  }
}

function tooComplex(what: string, kind = 'JSON'): InvalidRequest {
  return new InvalidRequest(`refused ${kind} input due to high complexity: exceeded maximum ${what}`);
}
