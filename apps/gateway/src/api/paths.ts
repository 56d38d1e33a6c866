import { InvalidRequest } from '#libs/contracts';

/** @throws InvalidRequest for a path with what nobody sees: control characters, marks of direction, white space but blanks. */
export function requirePrintable(path: string): void {
  if (/[^\p{L}\p{M}\p{N}\p{P}\p{S} ]/u.test(path)) {
    throw new InvalidRequest('path cannot contain non-printable characters');
  }
}

/** @throws InvalidRequest for a path with segments that mean another one (contract.md 1.1). */
export function requireAbsolute(segments: string[]): void {
  if (segments.some((segment) => segment === '.' || segment === '..')) {
    throw new InvalidRequest('relative paths not supported');
  }
}

/** The path of a mount with its closing slash, from one that was sent in a body; '' for none. @throws InvalidRequest */
export function mountPathIn(text: string): string {
  requirePrintable(text);
  const segments = text.split('/').filter((segment) => segment !== '');
  requireAbsolute(segments);
  return segments.map((segment) => `${segment}/`).join('');
}
