import { setTimeout as sleep } from 'node:timers/promises';
import { type DynamicModule, Module } from '@nestjs/common';
import { collectDefaultMetrics, Counter, Gauge, Histogram, type Metric, Registry, Summary } from 'prom-client';

/** Longest wait for a figure that is looked up, milliseconds: one that is lost must not hold up the others. */
const looksWithinMs = 2_000;

/** Mounts with figures of their own. Whoever mounts ever more of them fills no memory. */
const mostMounts = 100;

/** One figure of `Metrics.json`, in the form that readers of Vault's know (contract.md 3.6). */
export interface JsonFigure {
  Name: string;
  Labels: Record<string, string>;
}

/** The registry as Vault's readers know it. */
export interface JsonMetrics {
  Timestamp: string;
  Gauges: (JsonFigure & { Value: number })[];
  Points: never[];
  Counters: (JsonFigure & { Count: number; Sum: number })[];
  Samples: (JsonFigure & { Count: number; Sum: number; Mean: number })[];
}

/** A measured span: runs `work` and notes how long it took, whether it succeeded or not. */
export type Span = <T>(work: () => Promise<T>) => Promise<T>;

/**
 * The figures of one process, for Prometheus. No label ever holds a name that a caller chose, or a secret; a mount's path is
 * part of the names that Vault has it in. Names are written as Vault writes them, `vault.expire.revoke-force`; Prometheus reads `vault_expire_revoke_force`. Asked for the
 * same figure twice, it gives the same one, so that services that share a process share it.
 */
export class Metrics {
  private readonly registry = new Registry();
  /** The names as they were written, by the ones that Prometheus reads. */
  private readonly written = new Map<string, string>();
  private readonly mounts = new Set<string>();

  constructor(service: string) {
    this.registry.setDefaultLabels({ service });
  }

  /** From now on also memory, CPU, event loop and collections of this process. */
  watchProcess(): void {
    collectDefaultMetrics({ register: this.registry });
  }

  get contentType(): string {
    return this.registry.contentType;
  }

  /** All figures in Prometheus's text form. */
  async text(): Promise<string> {
    // The library's word for what is not a number yet is none of Prometheus's.
    return (await this.registry.metrics()).replaceAll(/ Nan$/gm, ' NaN');
  }

  /** All figures as JSON. Counters and samples count from the start of the process. */
  async json(now = new Date()): Promise<JsonMetrics> {
    const found = await this.registry.getMetricsAsJSON();
    const told: JsonMetrics = {
      Timestamp: `${now.toISOString().slice(0, 19).replace('T', ' ')} +0000 UTC`,
      Gauges: [],
      Points: [],
      Counters: [],
      Samples: [],
    };
    for (const { name, type, values } of found as unknown as Found[]) {
      const Name = this.written.get(name) ?? name;
      const group = (suffix: string) => values.filter((value) => value.metricName === `${name}${suffix}`);
      if (type === 'gauge') {
        // What is not a number yet has no form in JSON.
        for (const { labels, value } of values.filter((each) => Number.isFinite(each.value)))
          told.Gauges.push({ Name, Value: value, Labels: texts(labels) });
      } else if (type === 'counter') {
        for (const { labels, value } of values)
          told.Counters.push({ Name, Count: value, Sum: value, Labels: texts(labels) });
      } else {
        const sums = group('_sum');
        for (const [index, { labels, value: Count }] of group('_count').entries()) {
          const Sum = sums[index]!.value;
          told.Samples.push({ Name, Count, Sum, Mean: Count === 0 ? 0 : Sum / Count, Labels: texts(labels) });
        }
      }
    }
    return told;
  }

  counter<Label extends string = never>(name: string, help: string, labelNames: Label[] = []): Counter<Label> {
    return this.once(name, (read, registers) => new Counter({ name: read, help, labelNames, registers }));
  }

  histogram<Label extends string = never>(name: string, help: string, buckets: number[], labelNames: Label[] = []) {
    return this.once(
      name,
      (read, registers): Histogram<Label> => new Histogram({ name: read, help, buckets, labelNames, registers }),
    );
  }

  /** A summary in milliseconds with its quantiles over the last minute: the form that Vault's spans have. */
  summary(name: string, help: string): Summary {
    return this.once(
      name,
      (read, registers) =>
        new Summary({
          name: read,
          help: `${help} Milliseconds.`,
          percentiles: [0.5, 0.9, 0.99],
          maxAgeSeconds: 60,
          ageBuckets: 3,
          registers,
        }),
    );
  }

  /** The same of one mount, which ends its name: `vault.route.read.aws-`. Beyond a hundred mounts, further ones share `others-`. */
  summaryOfMount(name: string, mountPath: string, help: string): Summary {
    if (this.mounts.size < mostMounts) this.mounts.add(mountPath);
    const mount = this.mounts.has(mountPath) ? mountPath.replaceAll('/', '-') : 'others-';
    return this.summary(`${name}.${mount}`, help);
  }

  /** The same, as what runs a piece of work and notes how long it took. */
  span(name: string, help: string): Span {
    const summary = this.summary(name, help);
    return async (work) => {
      const startedAt = performance.now();
      try {
        return await work();
      } finally {
        summary.observe(performance.now() - startedAt);
      }
    };
  }

  /** A figure that is looked up when somebody asks; a look that fails, or takes too long, leaves it out. */
  gauge(name: string, help: string, look: () => number | Promise<number>): void {
    this.lookedUp(name, help, [], async (gauge) => gauge.set(await look()));
  }

  /** The same for one figure per value of `label`. */
  gauges(name: string, help: string, label: string, look: () => Promise<Record<string, number>>): void {
    this.lookedUp(name, help, [label], async (gauge) => {
      for (const [value, figure] of Object.entries(await look())) gauge.set({ [label]: value }, figure);
    });
  }

  private lookedUp(name: string, help: string, labelNames: string[], look: (gauge: Gauge) => Promise<void>): void {
    this.once(name, (read, registers) => {
      const gauge: Gauge = new Gauge({
        name: read,
        help,
        labelNames,
        registers,
        async collect() {
          gauge.reset();
          // A figure without labels would be 0 after that, which is not what nobody knows is.
          if (labelNames.length === 0) gauge.remove();
          await inTime(look(gauge)).catch(() => undefined);
        },
      });
      return gauge;
    });
  }

  private once<M extends Metric>(name: string, make: (read: string, registers: [Registry]) => M): M {
    const read = name.replaceAll(/[^a-zA-Z0-9_]/g, '_');
    const there = this.registry.getSingleMetric(read);
    if (there) return there as M;
    this.written.set(read, name);
    return make(read, [this.registry]);
  }
}

/** Gives every module of an application the figures of its process. */
@Module({})
export class MetricsModule {
  static of(metrics: Metrics): DynamicModule {
    const provider = { provide: Metrics, useValue: metrics };
    return { module: MetricsModule, global: true, providers: [provider], exports: [provider] };
  }
}

interface Found {
  name: string;
  type: 'counter' | 'gauge' | 'histogram' | 'summary';
  values: { metricName?: string; labels: Record<string, string | number>; value: number }[];
}

function texts(labels: Record<string, string | number>): Record<string, string> {
  return Object.fromEntries(Object.entries(labels).map(([name, value]) => [name, String(value)]));
}

async function inTime(work: Promise<void>): Promise<void> {
  const done = new AbortController();
  const late = sleep(looksWithinMs, undefined, { signal: done.signal, ref: false }).catch(() => undefined);
  try {
    await Promise.race([work, late]);
  } finally {
    done.abort();
  }
}
