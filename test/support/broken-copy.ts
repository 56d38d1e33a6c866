import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { cp, mkdtemp, readFile, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

/** One promise of the production code, broken on purpose: what a test is worth is seen by these. */
export interface Breakage {
  name: string;
  file: string;
  from: string;
  to: string;
}

/** Runs Node in a broken copy of this checkout; what it said and its exit code. */
export type Run = (args: string[], env?: Record<string, string>) => Promise<{ code: number | null; said: string }>;

const root = fileURLToPath(new URL(import.meta.url.includes('/dist/') ? '../../..' : '../..', import.meta.url));
const sources = [
  'docker-compose.yml',
  'apps',
  'libs',
  'test',
  'scripts',
  'docs',
  'package.json',
  'tsconfig.json',
  'jest.config.js',
];

/**
 * The file with the promise broken in it.
 * @throws Error when the code has changed so that it cannot be broken that way any more.
 */
export async function brokenSource({ name, file, from, to }: Breakage): Promise<string> {
  const source = await readFile(join(root, file), 'utf8');
  if (!source.includes(from)) throw new Error(`${file} has changed: "${name}" does not fit it any more.`);
  return source.replace(from, () => to);
}

/**
 * Makes a copy of this checkout's sources with something broken in it, and removes it afterwards.
 * @throws as `brokenSource` does
 */
export async function inBrokenCopy<T>(
  breakage: Breakage,
  use: (run: Run) => Promise<T>,
  ending?: AbortSignal,
): Promise<T> {
  const folder = await mkdtemp(join(tmpdir(), 'leasehold-broken-'));
  try {
    for (const part of sources) await cp(join(root, part), join(folder, part), { recursive: true });
    await symlink(join(root, 'node_modules'), join(folder, 'node_modules'));
    await writeFile(join(folder, breakage.file), await brokenSource(breakage));
    return await use((args, env = {}) => runIn(folder, args, env, ending));
  } finally {
    await rm(folder, { recursive: true, force: true, maxRetries: 5 });
  }
}

async function runIn(
  cwd: string,
  args: string[],
  env: Record<string, string>,
  ending?: AbortSignal,
): Promise<{ code: number | null; said: string }> {
  const { PATH, HOME, TMPDIR } = process.env;
  const child = spawn(process.execPath, args, {
    cwd,
    env: { PATH, HOME, ...(TMPDIR ? { TMPDIR } : {}), ...env },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  ending?.addEventListener('abort', () => child.kill());
  let said = '';
  for (const stream of [child.stdout, child.stderr]) stream.setEncoding('utf8').on('data', (text) => (said += text));
  const [code] = (await once(child, 'close')) as [number | null];
  return { code, said };
}
