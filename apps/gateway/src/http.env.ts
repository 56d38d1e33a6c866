import { BlockList, isIP } from 'node:net';
import { createSecureContext } from 'node:tls';
import { inJson, parsed, pem, StartRefused } from '#libs/runtime';
import { z } from 'zod';
import { rateLimitsSchema } from './api/rate-limits.js';
import type { ServerTls } from './wire/http-server.js';
import { defaultLimits, wireLimitsSchema } from './wire/wire-limits.js';

/** Certificate of the API and its key; without them it is plain HTTP. */
export const tlsEnv = z.object({
  LEASEHOLD_TLS_CERT: pem.optional(),
  LEASEHOLD_TLS_KEY: pem.optional(),
  /** Authorities that vouch for callers. */
  LEASEHOLD_TLS_CLIENT_CA: pem.optional(),
  LEASEHOLD_TLS_CLIENT_CERT: z.enum(['required', 'asked'], 'must be required or asked').default('required'),
});

/** How the gateway meets its callers. */
export const httpEnv = z.object({
  ...tlsEnv.shape,
  /** Addresses and networks whose `X-Forwarded-For` is believed. */
  LEASEHOLD_TRUSTED_PROXIES: parsed(networks, 'must be addresses or networks such as 10.0.0.0/8, with commas').default(
    [],
  ),
  LEASEHOLD_HTTP_LIMITS: inJson(wireLimitsSchema).default(defaultLimits),
  LEASEHOLD_RATE_LIMITS: inJson(rateLimitsSchema).default({}),
});

/** What the server shows and wants to see; undefined for plain HTTP. @throws StartRefused */
export function serverTlsOf(env: z.output<typeof tlsEnv>): ServerTls | undefined {
  const { LEASEHOLD_TLS_CERT: cert, LEASEHOLD_TLS_KEY: key, LEASEHOLD_TLS_CLIENT_CA: clientCa } = env;
  if (!cert && !key && !clientCa) return undefined;
  if (!cert || !key) throw new StartRefused('HTTPS needs both LEASEHOLD_TLS_CERT and LEASEHOLD_TLS_KEY.');
  try {
    createSecureContext({ cert, key, ca: clientCa });
  } catch (error) {
    throw new StartRefused('LEASEHOLD_TLS_CERT, its key and LEASEHOLD_TLS_CLIENT_CA cannot be used, or do not fit.', {
      cause: error,
    });
  }
  return { cert, key, clientCa, clientCert: clientCa ? env.LEASEHOLD_TLS_CLIENT_CERT : undefined };
}

/** @throws Error for what is no network. */
function networks(text: string): string[] {
  const found = text.split(',').map((each) => each.trim());
  const check = new BlockList();
  for (const each of found) {
    const [address = '', bits] = each.split('/');
    const family = isIP(address) === 6 ? 'ipv6' : 'ipv4';
    if (bits === undefined) check.addAddress(address, family);
    else check.addSubnet(address, /^\d+$/.test(bits) ? Number(bits) : NaN, family);
  }
  return found;
}
