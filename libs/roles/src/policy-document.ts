/**
 * A JSON text without the blanks between its tokens, or null when it is not JSON. Key order, duplicate keys, escapes
 * and the text of numbers stay as written, since AWS counts and shows what it was given (contract.md 2.4).
 */
export function compactJson(text: string): string | null {
  try {
    JSON.parse(text);
  } catch {
    return null;
  }
  let compacted = '';
  let kept = 0;
  let inString = false;
  for (let at = 0; at < text.length; at++) {
    const character = text[at];
    if (inString) {
      if (character === '\\') at++;
      else if (character === '"') inString = false;
    } else if (character === '"') {
      inString = true;
    } else if (character === ' ' || character === '\n' || character === '\t' || character === '\r') {
      compacted += text.slice(kept, at);
      kept = at + 1;
    }
  }
  return compacted + text.slice(kept);
}
