import { spawnSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';

/**
 * `npm run test:fuzz -- --runs N`: as many hostile requests over HTTP, and as many commands over AMQP; `--seed S` has the same ones
 * come again.
 */
const { values } = parseArgs({
  options: { runs: { type: 'string', default: '50000' }, seed: { type: 'string' } },
});
const given = Object.entries(values).map(([name, value]) => [`FUZZ_${name.toUpperCase()}`, value]);
const tests = fileURLToPath(new URL('test.mjs', import.meta.url));
const { status } = spawnSync(
  process.execPath,
  [tests, '--testPathPatterns', '/(fuzz/hostile-http|services/hostile-amqp)\\.spec'],
  {
    stdio: 'inherit',
    env: { ...process.env, ...Object.fromEntries(given) },
  },
);
process.exitCode = status ?? 1;
