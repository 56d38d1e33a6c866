import { StartRefused } from '#libs/runtime';
import { Failures } from '../load.js';
import type { Shape } from '../options.js';
import { formatTable } from '../table.js';
import { bounds } from './bounds.js';
import { findingRows, judged } from './judging.js';
import { measureShape } from './measuring.js';

const say = (line: string) => void process.stdout.write(`${line}\n`);

/** A run that takes longer than this never ends, milliseconds. */
const limitMs = 240_000;

/**
 * `npm run guard`: what requests cost in each shape that is named (both, unless told), held against `bounds.ts`. The exit code is 1
 * when anything costs more.
 */
export async function main(argv: string[]): Promise<number> {
  // The SDK's version is pinned, and tried on the Node that the project asks for.
  process.env.AWS_SDK_JS_NODE_VERSION_SUPPORT_WARNING_DISABLED = 'true';
  const known: Shape[] = ['embedded', 'services'];
  const unknown = argv.filter((name) => !known.some((shape) => shape === name));
  if (unknown.length > 0)
    throw new StartRefused(`Not started: ${unknown.join(', ')} is neither embedded nor services.`);
  const shapes = argv.length > 0 ? known.filter((shape) => argv.includes(shape)) : known;
  const failures = new Failures();
  const ending = new AbortController();
  for (const name of ['SIGINT', 'SIGTERM', 'SIGHUP']) process.on(name, () => ending.abort());
  const signal = AbortSignal.any([AbortSignal.timeout(limitMs), ending.signal]);
  let isMore = false;
  for (const shape of shapes) {
    const began = performance.now();
    const { measured, statements } = await measureShape(shape, { say, failures, signal });
    const findings = judged(measured, bounds[shape]);
    say(`\nCosts, ${shape}\n${formatTable(['', 'measured', 'bound', ''], findingRows(findings))}`);
    const more = findings.filter(({ verdict }) => verdict === 'MORE');
    for (const { of, figure, measured: found, bound } of more) {
      say(`${shape}: ${of} costs ${found} ${figure}, and may cost ${bound} (apps/bench/src/guard/bounds.ts).`);
    }
    for (const operation of new Set(more.filter(({ figure }) => figure === 'statements').map(({ of }) => of))) {
      say(
        `The statements of ${operation}:\n${statements[operation]!.map((text) => `  ${shortened(text)}`).join('\n')}`,
      );
    }
    if (findings.some(({ verdict }) => verdict === 'less')) say('What costs less now may be lowered there.');
    say(`Took ${((performance.now() - began) / 1_000).toFixed(0)} s.`);
    isMore ||= more.length > 0;
  }
  for (const [outcome, count] of Object.entries(failures.byOutcome)) say(`FAILED ${outcome}: ${count}`);
  if (failures.first !== undefined) say(`The first: ${failures.first}`);
  return isMore || failures.first !== undefined ? 1 : 0;
}

const shortened = (text: string) => text.replace(/\s+/g, ' ').trim().slice(0, 110);
