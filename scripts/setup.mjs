import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, readdirSync, readFileSync, rmSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

// Runs before node_modules exists: nothing but Node itself may be imported here.

/** The folder of package.json, whatever folder the person is in. */
export const root = fileURLToPath(new URL('..', import.meta.url));

/** The checkout cannot be made ready; the message is the whole text for the person. */
export class SetupRefused extends Error {}

/**
 * Makes the checkout ready to run: dependencies as package-lock.json has them, `dist` as the sources are. Says what takes
 * its time before it is done and afterwards how long it took, and nothing when nothing was to do.
 */
export async function setup({ say }) {
  requireNode(process.versions.node);
  await timed(say, installDependencies, 'Installing the dependencies …', 'Installed the dependencies');
  await timed(say, build, 'Building …', 'Built');
}

/** Runs `start` and prints, where the checkout cannot be made ready, why. */
export async function orSayWhyNot(start) {
  endWithParent();
  try {
    await start();
  } catch (error) {
    if (!(error instanceof SetupRefused)) throw error;
    process.stderr.write(`${error.message}\n`);
    process.exitCode = 1;
  }
}

/** npm runs us below a shell that passes no signal on. When that shell is gone, whatever ended it was meant for us. */
function endWithParent() {
  if (process.platform === 'win32' || !process.env.npm_lifecycle_event) return;
  const parent = process.ppid;
  const watch = setInterval(() => {
    if (process.ppid === parent) return;
    clearInterval(watch);
    process.kill(process.pid, 'SIGTERM');
  }, 500);
  watch.unref();
}

export function requireNode(version) {
  const [major, minor] = version.split('.').map(Number);
  if (major > 20 || (major === 20 && minor >= 19)) return;
  throw new SetupRefused(`Leasehold needs Node 20.19 or newer, and this is Node ${version}: see https://nodejs.org.`);
}

/** Does `step`, which is given what it calls before a long piece of work; when it says that it changed something, says so. */
export async function timed(say, step, before, after) {
  const start = performance.now();
  const changed = await step(() => say(before));
  if (changed) say(`${after} in ${((performance.now() - start) / 1000).toFixed(1)} s.`);
}

async function installDependencies(begins) {
  if (isInstalled(readLock('package-lock.json'), readLock('node_modules/.package-lock.json'))) return false;
  begins();
  // Under npm we use that same npm. Building takes the dev dependencies, also where NODE_ENV is "production".
  const args = ['ci', '--include=dev', '--include=optional', '--no-audit', '--no-fund', '--loglevel=error'];
  const npm = process.env.npm_execpath ?? '';
  if (npm.endsWith('npm-cli.js')) await run(process.execPath, [npm, ...args], 'npm could not install the dependencies');
  else await run('npm', args, 'npm could not install the dependencies');
  return true;
}

/**
 * Whether node_modules holds what the lock asks for, by the record that npm leaves in it. Packages for other platforms are
 * optional and may be missing.
 */
export function isInstalled(wanted, installed) {
  if (!wanted)
    throw new SetupRefused('package-lock.json is missing: restore it with "git checkout package-lock.json".');
  if (!installed) return false;
  return Object.entries(wanted.packages).every(([path, { version, integrity, optional, devOptional }]) => {
    const found = installed.packages[path];
    if (!found) return path === '' || optional || devOptional;
    return found.version === version && found.integrity === integrity;
  });
}

function readLock(path) {
  const file = join(root, path);
  return existsSync(file) ? JSON.parse(readFileSync(file, 'utf8')) : undefined;
}

async function build(begins) {
  const record = join(root, 'dist/.tsbuildinfo');
  const builtAt = () => (existsSync(record) ? statSync(record).mtimeMs : 0);
  const before = builtAt();
  removeStale(root);
  // Whether there is anything to do only the compiler finds out, and soon, by its record of the last time.
  if (!existsSync(record)) begins();
  await run(process.execPath, ['node_modules/typescript/bin/tsc', '-p', '.'], 'The sources do not compile');
  return builtAt() !== before;
}

/**
 * Removes compiled files whose source is gone, which could still be run, and the compiler's record when a compiled file
 * is gone, since the compiler believes its record.
 */
export function removeStale(folder) {
  const sources = new Set();
  for (const part of ['apps', 'libs', 'examples', 'test']) {
    for (const path of filesBelow(join(folder, part))) {
      if (path.endsWith('.ts')) sources.add(join(part, path.slice(0, -'.ts'.length)));
    }
  }
  let compiled = 0;
  for (const path of filesBelow(join(folder, 'dist'))) {
    const name = path.replace(/\.js(\.map)?$/, '');
    if (name === path) continue;
    if (!sources.has(name)) rmSync(join(folder, 'dist', path));
    else if (path.endsWith('.js')) compiled += 1;
  }
  if (compiled < sources.size) rmSync(join(folder, 'dist/.tsbuildinfo'), { force: true });
}

function filesBelow(folder) {
  return existsSync(folder) ? readdirSync(folder, { recursive: true }) : [];
}

/** Runs a command in the root, silently; what it printed is shown if it fails. A signal to us ends it and then us. */
async function run(command, args, failure) {
  const child = spawn(command, args, { cwd: root, stdio: ['ignore', 'pipe', 'pipe'] });
  let printed = '';
  for (const stream of [child.stdout, child.stderr]) stream.setEncoding('utf8').on('data', (text) => (printed += text));
  const signals = ['SIGINT', 'SIGTERM', 'SIGHUP'];
  let ending;
  const pass = (signal) => child.kill((ending = signal));
  for (const signal of signals) process.on(signal, pass);
  const [code] = await once(child, 'close').catch((error) => {
    throw new SetupRefused(`${failure}: ${error.message}.`);
  });
  for (const signal of signals) process.off(signal, pass);
  if (ending) {
    process.kill(process.pid, ending);
    await new Promise(() => undefined);
  }
  if (code !== 0) throw new SetupRefused(`${printed.trimEnd()}\n${failure} (above is what was printed).`);
}
