import { generate, type SelfsignedOptions } from 'selfsigned';

/** A certificate and its key, PEM. */
export interface Certified {
  cert: string;
  key: string;
}

/** An authority of one test, which nobody else trusts. */
export class Authority {
  private constructor(private readonly own: Certified) {}

  static async named(name: string): Promise<Authority> {
    return new Authority(
      await made(name, {
        extensions: [
          { name: 'basicConstraints', cA: true, critical: true },
          { name: 'keyUsage', keyCertSign: true, cRLSign: true, critical: true },
        ],
      }),
    );
  }

  /** What its certificates are checked with, PEM. */
  get cert(): string {
    return this.own.cert;
  }

  /** For a server on 127.0.0.1 and localhost, or for a client that is called `name`. */
  certify(name: string): Promise<Certified> {
    return made(name, {
      ca: this.own,
      extensions: [
        { name: 'basicConstraints', cA: false, critical: true },
        { name: 'keyUsage', digitalSignature: true, critical: true },
        { name: 'extKeyUsage', serverAuth: true, clientAuth: true },
        {
          name: 'subjectAltName',
          altNames: [
            { type: 2, value: 'localhost' },
            { type: 7, ip: '127.0.0.1' },
          ],
        },
      ],
    });
  }
}

async function made(name: string, options: SelfsignedOptions): Promise<Certified> {
  const { cert, private: key } = await generate([{ name: 'commonName', value: name }], {
    keyType: 'ec',
    algorithm: 'sha256',
    ...options,
  });
  return { cert, key };
}
