import { describe, expect, it } from '@jest/globals';
import { databaseOf } from './connections.js';

const url = 'postgres://u:p%40ss@db.example:5432/leasehold';
const DATABASE_CA = '-----BEGIN CERTIFICATE-----';
const [DATABASE_CERT, DATABASE_KEY] = [DATABASE_CA, '-----BEGIN PRIVATE KEY-----'];

describe('the database', () => {
  it.each([
    [{ DATABASE_URL: url }, { url }],
    [{ DATABASE_URL: `${url}?sslmode=disable` }, { url }],
    [
      { DATABASE_URL: url, DATABASE_CA },
      { url, tls: { ca: DATABASE_CA } },
    ],
    [{ DATABASE_URL: `${url}?sslmode=require` }, { url, tls: {} }],
    [
      { DATABASE_URL: `${url}?sslmode=verify-full&options=x`, DATABASE_CA },
      { url: `${url}?options=x`, tls: { ca: DATABASE_CA } },
    ],
    [
      { DATABASE_URL: `${url}?sslmode=verify-ca`, DATABASE_CERT, DATABASE_KEY },
      { url, tls: { cert: DATABASE_CERT, key: DATABASE_KEY } },
    ],
  ])('of %j is reached so', (env, reached) => expect(databaseOf(env)).toEqual(reached));

  it.each([
    [{ DATABASE_URL: `${url}?sslmode=no-verify` }, 'DATABASE_URL must have an sslmode of disable, require,'],
    [
      { DATABASE_URL: `${url}?sslrootcert=/x` },
      'DATABASE_URL must not have sslrootcert: name that file in DATABASE_CA_FILE.',
    ],
    [
      { DATABASE_URL: `${url}?sslmode=disable`, DATABASE_CA },
      'DATABASE_CA would not be used, since DATABASE_URL has no sslmode',
    ],
    [{ DATABASE_URL: url, DATABASE_CERT, DATABASE_KEY }, 'DATABASE_CERT would not be used'],
    [{ DATABASE_URL: url, DATABASE_CA, DATABASE_KEY }, 'DATABASE_CERT and DATABASE_KEY need each other.'],
  ])('of %j is refused', (env, sentence) => expect(() => databaseOf(env)).toThrow(sentence));
});
