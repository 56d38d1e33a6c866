import {
  brotliCompressSync,
  brotliDecompressSync,
  constants,
  deflateSync,
  gunzipSync,
  gzipSync,
  inflateSync,
} from 'node:zlib';

/** Something that must not be found, by the name that a finding is told under. */
export interface Secret {
  name: string;
  bytes: Buffer;
}

/** Where it may not be: a value of a table, a connection, a log. */
export interface Place {
  name: string;
  bytes: Buffer;
}

export const secretOf = (name: string, secret: string | Buffer): Secret => ({
  name,
  bytes: Buffer.from(secret as string),
});

const percent = (bytes: Buffer) => bytes.toString('hex').replace(/../g, '%$&');
const escaped = (text: string) => JSON.stringify(text).slice(1, -1);
const upper = (text: string) => text.replace(/%[0-9a-f]{2}/g, (found) => found.toUpperCase());
const lower = (text: string) => text.replace(/%[0-9A-F]{2}/g, (found) => found.toLowerCase());

/** The characters of base64 that depend on these bytes alone, when they stand `offset` bytes behind a multiple of three. */
function base64At(offset: number, bytes: Buffer, encoding: 'base64' | 'base64url'): string {
  const text = Buffer.concat([Buffer.alloc(offset), bytes]).toString(encoding);
  return text.slice(Math.ceil((offset * 8) / 6), Math.floor(((offset + bytes.length) * 8) / 6));
}

/** Every form in which these bytes might hide, by name. */
export function formsOf(bytes: Buffer): Record<string, Buffer> {
  const text = bytes.toString();
  const isText = Buffer.from(text).equals(bytes);
  const texts: Record<string, string> = {
    hexadecimal: bytes.toString('hex'),
    'hexadecimal, upper case': bytes.toString('hex').toUpperCase(),
    'every byte in percent': percent(bytes),
    'every byte in percent, upper case': upper(percent(bytes)),
  };
  for (const encoding of ['base64', 'base64url'] as const) {
    for (const offset of [0, 1, 2]) texts[`${encoding} at ${offset}`] = base64At(offset, bytes, encoding);
  }
  if (isText) {
    texts['URL'] = encodeURIComponent(text);
    texts['URL, lower case'] = lower(encodeURIComponent(text));
    texts['form'] = new URLSearchParams({ '': text }).toString().slice(1);
    texts['JSON'] = escaped(text);
    texts['JSON in JSON'] = escaped(escaped(text));
    texts['JSON with escaped slashes'] = escaped(text).replaceAll('/', String.raw`\/`);
  }
  const forms: Record<string, Buffer> = Object.fromEntries(
    Object.entries(texts).map(([name, form]) => [name, Buffer.from(form)]),
  );
  forms.plain = bytes;
  if (isText) forms['UTF-16'] = Buffer.from(text, 'utf16le');
  // Half of a secret key says too much as well.
  if (bytes.length >= 32) {
    forms['its first half'] = bytes.subarray(0, bytes.length / 2);
    forms['its last half'] = bytes.subarray(bytes.length / 2);
  }
  return forms;
}

/** How a text might be packed, and what packs it so. */
export const packings: Record<string, (bytes: Buffer) => Buffer> = {
  gzip: (bytes) => gzipSync(bytes),
  deflate: (bytes) => deflateSync(bytes),
  brotli: (bytes) => brotliCompressSync(bytes),
  'gzip in base64': (bytes) => Buffer.from(gzipSync(bytes).toString('base64')),
};

const lenient = { finishFlush: constants.Z_SYNC_FLUSH };

/** What is packed somewhere in these bytes, unpacked. Brotli has no mark of its own: it is known where it is all there is. */
function unpacked(bytes: Buffer): Buffer[] {
  const found: Buffer[] = [];
  const attempt = (unpack: () => Buffer) => {
    try {
      found.push(unpack());
    } catch {
      // It only looked like it.
    }
  };
  for (const at of everyIndex(bytes, Buffer.from([0x1f, 0x8b, 0x08])))
    attempt(() => gunzipSync(bytes.subarray(at), lenient));
  for (const second of [0x01, 0x5e, 0x9c, 0xda]) {
    for (const at of everyIndex(bytes, Buffer.from([0x78, second])))
      attempt(() => inflateSync(bytes.subarray(at), lenient));
  }
  for (const at of everyIndex(bytes, Buffer.from('H4sIA'))) {
    const [text] = /^[\w+/-]+/.exec(bytes.toString('latin1', at, at + 100_000)) ?? [''];
    attempt(() => gunzipSync(Buffer.from(text, 'base64'), lenient));
  }
  if (bytes.length > 0 && bytes.length < 100_000) attempt(() => brotliDecompressSync(bytes));
  return found;
}

function everyIndex(bytes: Buffer, mark: Buffer): number[] {
  const found: number[] = [];
  for (let at = bytes.indexOf(mark); at >= 0; at = bytes.indexOf(mark, at + 1)) found.push(at);
  return found;
}

/** Every secret that is in one of the places, in whatever form: `secret, in a form, in a place`. Empty is what it should be. */
export function findSecrets(secrets: Secret[], places: Place[]): string[] {
  const looked = secrets.map(({ name, bytes }) => ({ name, forms: Object.entries(formsOf(bytes)) }));
  const found = new Set<string>();
  for (const place of places) {
    for (const bytes of [place.bytes, ...unpacked(place.bytes)]) {
      for (const { name, forms } of looked) {
        for (const [form, needle] of forms) {
          if (bytes.includes(needle)) found.add(`${name}, in the form ${form}, in ${place.name}`);
        }
      }
    }
  }
  return [...found];
}
