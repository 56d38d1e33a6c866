import { randomBytes } from 'node:crypto';

const alphabet = 'ABCDEFGHIJKLMNOPQRSTUVWXYZ234567';

/** An identifier as AWS makes them: four letters for the kind (AIDA, AKIA, ASIA, AROA …) and `length` random ones. */
export function identifier(kind: string, length = 17): string {
  let text = kind;
  for (const byte of randomBytes(length)) text += alphabet[byte & 31];
  return text;
}

export const accessKeyIdentifier = (kind: 'AKIA' | 'ASIA') => identifier(kind, 16);

/** Forty characters, as AWS's secret access keys have. */
export const secretAccessKey = () => randomBytes(30).toString('base64');
