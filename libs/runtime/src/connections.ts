import { connect } from 'node:tls';
import type { z } from 'zod';
import type { brokerEnv, databaseEnv, processEnv, redisEnv } from './environment.js';
import { StartRefused } from './start-refused.js';

/** What a TLS client checks a server with, and shows to it: PEM. */
export interface ClientTls {
  /** Authorities that vouch for the server; those that Node knows where it is absent. */
  ca?: string;
  /** Certificate of this client and its key. */
  cert?: string;
  key?: string;
}

/** A server that this process depends on. Without `tls` it is spoken to in the clear; with it, its certificate is checked. */
export interface Reached {
  url: string;
  tls?: ClientTls;
}

type Server = 'DATABASE' | 'REDIS' | 'RABBITMQ';
type TlsEnv<Name extends Server> = { [Part in `${Name}_${'CA' | 'CERT' | 'KEY'}`]?: string };

const sslModes = ['disable', 'require', 'verify-ca', 'verify-full'];
/** What libpq takes from a URL and we from variables. */
const sslFiles = { sslrootcert: 'DATABASE_CA', sslcert: 'DATABASE_CERT', sslkey: 'DATABASE_KEY' };

/**
 * PostgreSQL as the environment tells of it: over TLS when `DATABASE_CA` is given or the URL has an `sslmode`, of which
 * every one but `disable` means that certificate and host are checked.
 * @throws StartRefused
 */
export function databaseOf(env: Pick<z.output<typeof databaseEnv>, 'DATABASE_URL'> & TlsEnv<'DATABASE'>): Reached {
  const url = new URL(env.DATABASE_URL);
  const mode = url.searchParams.get('sslmode');
  if (mode && !sslModes.includes(mode))
    throw new StartRefused(`DATABASE_URL must have an sslmode of ${sslModes.join(', ')}, or none.`);
  for (const [parameter, variable] of Object.entries(sslFiles)) {
    if (url.searchParams.has(parameter))
      throw new StartRefused(`DATABASE_URL must not have ${parameter}: name that file in ${variable}_FILE.`);
  }
  const wanted = mode ? mode !== 'disable' : env.DATABASE_CA !== undefined;
  const tls = tlsOf('DATABASE', env, wanted, 'has no sslmode, or disables it');
  if (!mode) return { url: env.DATABASE_URL, tls };
  url.searchParams.delete('sslmode');
  return { url: url.href, tls };
}

/**
 * The servers of a service as its environment tells of them, those that speak TLS tried once: one that is away is no
 * hindrance, one whose certificate is not trusted is.
 * @throws StartRefused
 */
export async function connectionsOf(
  env: z.output<typeof databaseEnv> &
    z.output<typeof redisEnv> &
    z.output<typeof brokerEnv> &
    Pick<z.output<typeof processEnv>, 'LEASEHOLD_NAMESPACE'>,
) {
  const database = databaseOf(env);
  const redis = { url: env.REDIS_URL, tls: tlsOf('REDIS', env, /^rediss:/i.test(env.REDIS_URL), 'is not rediss://') };
  const broker = {
    url: env.RABBITMQ_URL,
    namespace: env.LEASEHOLD_NAMESPACE,
    tls: tlsOf('RABBITMQ', env, /^amqps:/i.test(env.RABBITMQ_URL), 'is not amqps://'),
  };
  await greet('REDIS', redis, 6379, 'PING\r\n');
  await greet('RABBITMQ', broker, 5671, 'AMQP\0\0\x09\x01');
  return { database, redis, broker };
}

function tlsOf<Name extends Server>(
  server: Name,
  env: TlsEnv<Name>,
  wanted: boolean,
  whyNot: string,
): ClientTls | undefined {
  const given = env as Record<string, string | undefined>;
  const [ca, cert, key] = [given[`${server}_CA`], given[`${server}_CERT`], given[`${server}_KEY`]];
  if (Boolean(cert) !== Boolean(key)) throw new StartRefused(`${server}_CERT and ${server}_KEY need each other.`);
  if (wanted) return { ca, cert, key };
  const unused = ca ? 'CA' : cert ? 'CERT' : undefined;
  if (unused) throw new StartRefused(`${server}_${unused} would not be used, since ${server}_URL ${whyNot}.`);
  return undefined;
}

/** Longest wait for a server to show who it is, milliseconds. */
const answersWithinMs = 5_000;

/** Says `hello` and waits for an answer: only then has a server taken our certificate, too. */
async function greet(server: Server, { url, tls }: Reached, usualPort: number, hello: string): Promise<void> {
  if (!tls) return;
  const { hostname, port } = new URL(url);
  const host = hostname.replace(/^\[|\]$/g, '');
  const fault = await new Promise<unknown>((resolve) => {
    const socket = connect({ host, port: Number(port) || usualPort, timeout: answersWithinMs, ...tls }, () => {
      socket.write(hello, 'latin1');
    });
    for (const event of ['data', 'timeout', 'close']) {
      socket.once(event, () => {
        resolve(undefined);
        socket.destroy();
      });
    }
    socket.once('error', resolve);
  });
  refuseUntrusted(server, fault);
}

const untrusted =
  /^(CERT_|DEPTH_ZERO_|SELF_SIGNED_|UNABLE_TO_|INVALID_(CA|PURPOSE)|PATH_LENGTH_|HOSTNAME_MISMATCH|ERR_TLS_CERT_)/;
const refusesUs = /^ERR_SSL_\w*ALERT/;
const noTls = /^ERR_SSL_(WRONG_VERSION_NUMBER|PACKET_LENGTH_TOO_LONG)$/;
const unfit = /^ERR_OSSL_/;

/**
 * Does nothing about an error that says nothing of TLS.
 * @throws StartRefused about one that says that no session with the server can be had as things are.
 */
export function refuseUntrusted(server: Server, error: unknown): void {
  const { code = '', message = '' } = (error ?? {}) as { code?: string; message?: string };
  const at = `The server at ${server}_URL`;
  const refuse = (sentence: string) => {
    throw new StartRefused(sentence, { cause: error });
  };
  if (untrusted.test(code))
    refuse(
      `${at} shows a certificate that is not trusted (${message.split('\n')[0]}): give the certificate of its authority in ${server}_CA.`,
    );
  if (refusesUs.test(code))
    refuse(
      `${at} wants another certificate of this client: give one that it takes in ${server}_CERT and ${server}_KEY.`,
    );
  if (noTls.test(code) || message === 'The server does not support SSL connections')
    refuse(`${at} does not speak TLS there: switch it on, or correct ${server}_URL.`);
  if (unfit.test(code))
    refuse(`${server}_CA, ${server}_CERT and ${server}_KEY cannot be used: they are not PEM, or do not fit.`);
}
