import { spawnSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';

/**
 * `npm run test:model -- --runs N`: as many cases of the model, in an order of their own; `--seed S --path P` has one happen
 * again that failed, with `--pool` one of those with a pool. `--broken`: runs it on builds that are broken on purpose, which must be found out.
 */
const { values } = parseArgs({
  options: {
    runs: { type: 'string' },
    seed: { type: 'string' },
    path: { type: 'string' },
    pool: { type: 'boolean' },
    broken: { type: 'boolean' },
  },
});
const { broken, ...given } = values;
const asked = broken
  ? { MODEL_BROKEN: 'all' }
  : Object.fromEntries(Object.entries(given).map(([name, value]) => [`MODEL_${name.toUpperCase()}`, value]));
const tests = fileURLToPath(new URL('test.mjs', import.meta.url));
const spec = broken ? 'test/model/broken-builds' : 'test/model/lease-model';
const { status } = spawnSync(process.execPath, [tests, '--selectProjects', 'embedded', '--testPathPatterns', spec], {
  stdio: 'inherit',
  env: { ...process.env, ...asked },
});
process.exitCode = status ?? 1;
