import { chown, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import pg from 'pg';
import { startEmbeddedPostgres } from '#libs/runtime';
import { startRabbitmq, startRedis } from '#servers';
import type { Authority } from './certificates.js';

/** PostgreSQL, Redis and RabbitMQ of a test's own; the latter two speak TLS alone, and only with clients of `authority`. */
export async function startSecureServers(folder: string, authority: Authority) {
  const tls = { ca: authority.cert, ...(await authority.certify('server')) };
  const started = await Promise.allSettled([
    startEmbeddedPostgres({ dataDir: join(folder, 'postgresql') }),
    startRedis({ folder: join(folder, 'redis'), tls }),
    startRabbitmq({ folder: join(folder, 'rabbitmq'), tls }),
  ]);
  const stop = async () => {
    await Promise.all(started.map((each) => (each.status === 'fulfilled' ? each.value.stop() : undefined)));
  };
  const [database, redis, rabbitmq] = started;
  if (database.status === 'rejected' || redis.status === 'rejected' || rabbitmq.status === 'rejected') {
    await stop();
    throw started.find((each) => each.status === 'rejected')!.reason;
  }
  await switchOn(database.value.url, tls);
  return { database: database.value.url, redis: redis.value.url, rabbitmq: rabbitmq.value.url, stop };
}

/** From now on it speaks TLS with who wants it, and asks for its certificate. */
async function switchOn(url: string, tls: { ca: string; cert: string; key: string }): Promise<void> {
  const client = new pg.Client({ connectionString: url });
  await client.connect();
  const { rows } = await client.query<{ data_directory: string }>('show data_directory');
  const folder = rows[0]!.data_directory;
  const owner = await stat(folder);
  for (const [setting, text] of Object.entries({
    ssl_ca_file: tls.ca,
    ssl_cert_file: tls.cert,
    ssl_key_file: tls.key,
  })) {
    const file = join(folder, `${setting}.pem`);
    await writeFile(file, text, { mode: 0o600 });
    await chown(file, owner.uid, owner.gid);
    await client.query(`alter system set ${setting} = '${file}'`);
  }
  await client.query('alter system set ssl = on');
  await client.query('select pg_reload_conf()');
  await client.end();
}
