import { spawnSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';

/**
 * `npm run test:model -- --runs N`: as many cases of the model, in an order of their own; `--seed S --path P` has one happen
 * again that failed.
 */
const { values } = parseArgs({
  options: { runs: { type: 'string' }, seed: { type: 'string' }, path: { type: 'string' } },
});
const given = Object.entries(values).map(([name, value]) => [`MODEL_${name.toUpperCase()}`, value]);
const tests = fileURLToPath(new URL('test.mjs', import.meta.url));
const { status } = spawnSync(
  process.execPath,
  [tests, '--selectProjects', 'embedded', '--testPathPatterns', 'test/model/'],
  {
    stdio: 'inherit',
    env: { ...process.env, ...Object.fromEntries(given) },
  },
);
process.exitCode = status ?? 1;
