import { beforeAll, describe, expect, it } from '@jest/globals';
import { readEnvironment } from '#libs/runtime';
import { Authority, type Certified } from '../../../test/support/certificates.js';
import { httpEnv, serverTlsOf } from './http.env.js';

const read = (env: Record<string, string>) => readEnvironment('gateway', httpEnv, env);

describe("the gateway's callers' side", () => {
  let ours: Authority;
  let own: Certified;

  beforeAll(async () => {
    ours = await Authority.named('ours');
    own = await ours.certify('gateway');
  });

  it('is plain HTTP with the limits of the contract, without rates and without proxies, unless told', () => {
    const env = read({});
    expect(serverTlsOf(env)).toBeUndefined();
    expect(env.LEASEHOLD_TRUSTED_PROXIES).toEqual([]);
    expect(env.LEASEHOLD_RATE_LIMITS).toEqual({});
    expect(env.LEASEHOLD_HTTP_LIMITS).toMatchObject({
      ...{ bodyBytes: 33_554_432, strings: 1_000, parsedBytes: 34_078_720 },
      ...{ headersMs: 10_000, receiveMs: 30_000, idleMs: 300_000, requestMs: 90_000 },
    });
  });

  it('is HTTPS with a certificate; with an authority for callers, it requires theirs unless told to ask', () => {
    const env = { LEASEHOLD_TLS_CERT: own.cert, LEASEHOLD_TLS_KEY: own.key };
    expect(serverTlsOf(read(env))).toMatchObject({ clientCert: undefined });
    const both = { ...env, LEASEHOLD_TLS_CLIENT_CA: ours.cert };
    expect(serverTlsOf(read(both))).toMatchObject({ clientCert: 'required' });
    expect(serverTlsOf(read({ ...both, LEASEHOLD_TLS_CLIENT_CERT: 'asked' }))).toMatchObject({ clientCert: 'asked' });
  });

  it('takes what differs from the defaults, and networks of both families', () => {
    const env = read({
      LEASEHOLD_HTTP_LIMITS: '{"bodyBytes":1024}',
      LEASEHOLD_RATE_LIMITS: '{"token":50}',
      LEASEHOLD_TRUSTED_PROXIES: '10.0.0.0/8, 192.168.1.1,fd00::/8',
    });
    expect(env.LEASEHOLD_HTTP_LIMITS).toMatchObject({ bodyBytes: 1_024, strings: 1_000 });
    expect(env.LEASEHOLD_RATE_LIMITS).toEqual({ token: 50 });
    expect(env.LEASEHOLD_TRUSTED_PROXIES).toEqual(['10.0.0.0/8', '192.168.1.1', 'fd00::/8']);
  });

  it.each([
    [{ LEASEHOLD_TLS_CERT: 'cert.pem' }, 'LEASEHOLD_TLS_CERT must be PEM text'],
    [{ LEASEHOLD_TLS_CLIENT_CERT: 'maybe' }, 'LEASEHOLD_TLS_CLIENT_CERT must be required or asked'],
    [{ LEASEHOLD_TRUSTED_PROXIES: '10.0.0.0/8,here' }, 'LEASEHOLD_TRUSTED_PROXIES must be addresses or networks'],
    [{ LEASEHOLD_TRUSTED_PROXIES: '10.0.0.0/33' }, 'LEASEHOLD_TRUSTED_PROXIES must be addresses or networks'],
    [{ LEASEHOLD_HTTP_LIMITS: '{"bodyByte":1}' }, 'LEASEHOLD_HTTP_LIMITS'],
    [{ LEASEHOLD_HTTP_LIMITS: '{"strings":0}' }, 'LEASEHOLD_HTTP_LIMITS.strings'],
    [{ LEASEHOLD_RATE_LIMITS: 'fast' }, 'LEASEHOLD_RATE_LIMITS must be a JSON object'],
  ])('is refused as %j', (env, sentence) => expect(() => read(env)).toThrow(sentence));

  it('is refused with half of a certificate, or two halves of different ones', async () => {
    const { cert } = own;
    const { key } = await ours.certify('other');
    expect(() => serverTlsOf(read({ LEASEHOLD_TLS_CERT: cert }))).toThrow('HTTPS needs both');
    expect(() => serverTlsOf(read({ LEASEHOLD_TLS_CERT: cert, LEASEHOLD_TLS_KEY: key }))).toThrow('do not fit');
  });
});
