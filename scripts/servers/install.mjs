import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, open, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { findProgram, findServer } from './find.mjs';
import { ServersRefused } from './servers-refused.mjs';

const packages = { redis: 'redis-server', rabbitmq: 'rabbitmq-server' };
const names = { redis: 'Redis', rabbitmq: 'RabbitMQ' };

/** Makes the programs of `servers` available, with apt where they are missing. */
export async function install(servers, say) {
  const missing = servers.filter((server) => !findServer(server));
  if (missing.length === 0) return;
  const what = missing.map((server) => names[server]).join(' and ');
  const wanted = missing.map((server) => packages[server]).join(' ');
  const urls = missing.map((server) => `TEST_${server.toUpperCase()}_URL`).join(' and ');
  const apt = findProgram('apt-get');
  if (!apt || process.getuid?.() !== 0) {
    const how = apt
      ? `install what is missing as root with "apt-get install ${wanted}"`
      : `install what is missing (${wanted})`;
    throw new ServersRefused(`${what} cannot be started here: ${how}, start a Docker engine, or set ${urls}.`);
  }
  say(`Installing ${what} with apt, which takes a minute …`);
  const { code, printed } = await runScript(wanted);
  if (code === 0 && missing.every(findServer)) return;
  if (printed.trim()) say(printed.trim());
  throw new ServersRefused(
    `apt could not install ${wanted} (above is what it printed): install it by hand, or set ${urls}.`,
  );
}

/**
 * Installs what is still missing when its turn comes: two runs at once wait for each other, also at `update`, where apt
 * itself does not wait. No system service is started, now or at the next boot.
 */
const script = `
policy=/usr/sbin/policy-rc.d
restore() { rm -f $policy; [ ! -e $policy.leasehold ] || mv $policy.leasehold $policy; }
missing=
for package; do dpkg-query -W -f '\${Status}' $package 2>/dev/null | grep -q ' installed$' || missing="$missing $package"; done
[ -n "$missing" ] || exit 0
$policy redis-server start 2>/dev/null
if [ $? -ne 101 ]; then
  [ ! -e $policy ] || mv $policy $policy.leasehold
  trap restore EXIT
  # Forbids only as long as this script runs: it may be killed.
  printf '#!/bin/sh\\n! kill -0 %s 2>/dev/null || exit 101\\n' $$ > $policy
  chmod 755 $policy
fi
for attempt in 1 2 3 4 5 6; do apt-get update && break; sleep 5; done
apt-get install -y --no-install-recommends -o DPkg::Lock::Timeout=120 $missing || exit 1
for package in $missing; do
  update-rc.d $package disable || :
  [ ! -x /usr/bin/systemctl ] || systemctl disable $package || :
done`;

/** In a group of its own and writing to a file: neither Ctrl-C nor our end must cut dpkg off half way. */
async function runScript(wanted) {
  const folder = await mkdtemp(join(tmpdir(), 'leasehold-install-'));
  const output = await open(join(folder, 'output'), 'a');
  try {
    const child = spawn('flock', ['-w', '900', '/var/lib/dpkg', 'sh', '-c', script, 'sh', ...wanted.split(' ')], {
      env: { ...process.env, DEBIAN_FRONTEND: 'noninteractive', NEEDRESTART_SUSPEND: '1', LC_ALL: 'C' },
      stdio: ['ignore', output.fd, output.fd],
      detached: true,
    });
    const [code] = await once(child, 'exit').catch((error) => [error.message]);
    return { code, printed: await readFile(join(folder, 'output'), 'utf8') };
  } finally {
    await output.close();
    await rm(folder, { recursive: true, force: true });
  }
}
