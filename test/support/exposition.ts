/** The figures that a `/metrics` answered. */
export class Exposition {
  constructor(private readonly samples: Map<string, number>) {}

  /** The sum of all series of `name` that have these labels; undefined when there is none. */
  find(name: string, labels: Record<string, string> = {}): number | undefined {
    const wanted = Object.entries(labels).map(([label, value]) => `${label}="${value}"`);
    let sum: number | undefined;
    for (const [series, value] of this.samples) {
      if (series.split('{')[0] !== name) continue;
      const given = series
        .slice(name.length)
        .replace(/^\{|\}$/g, '')
        .split(/,(?=[a-zA-Z_]+=")/);
      if (wanted.every((label) => given.includes(label))) sum = (sum ?? 0) + value;
    }
    return sum;
  }

  /** The same; 0 when there is none. */
  of(name: string, labels: Record<string, string> = {}): number {
    return this.find(name, labels) ?? 0;
  }

  get series(): string[] {
    return [...this.samples.keys()];
  }
}

const name = '[a-zA-Z_:][a-zA-Z0-9_:]*';
const labels = String.raw`\{(?:[a-zA-Z_][a-zA-Z0-9_]*="(?:[^"\\\n]|\\[\\n"])*",?)*\}`;
const sample = new RegExp(`^((${name})(?:${labels})?) (-?[0-9.]+(?:e[+-]?[0-9]+)?|NaN|[+-]Inf)$`);

/**
 * Reads Prometheus's text form (version 0.0.4), as strictly as Prometheus does.
 * @throws Error that names the line that is wrong.
 */
export function readExposition(text: string): Exposition {
  if (!text.endsWith('\n')) throw new Error('The last line has no end.');
  const samples = new Map<string, number>();
  const types = new Map<string, string>();
  for (const line of text.split('\n').filter((each) => each !== '')) {
    const [, comment, family, rest] = new RegExp(`^# (HELP|TYPE) (${name}) (.+)$`).exec(line) ?? [];
    if (comment === 'TYPE') {
      if (types.has(family!) || !/^(counter|gauge|histogram|summary)$/.test(rest!)) throw new Error(line);
      types.set(family!, rest!);
    }
    if (comment) continue;
    const [, series, metric, value] = sample.exec(line) ?? [];
    if (!series || samples.has(series)) throw new Error(`Neither comment nor sample, or there twice: ${line}`);
    const owner = types.has(metric!) ? metric! : metric!.replace(/_(bucket|sum|count)$/, '');
    if (!types.has(owner)) throw new Error(`No TYPE before: ${line}`);
    samples.set(series, Number(value!.replace('Inf', 'Infinity')));
  }
  return new Exposition(samples);
}
