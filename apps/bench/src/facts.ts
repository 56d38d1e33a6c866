import { arch, availableParallelism, cpus, platform } from 'node:os';
import type { Facts } from './report.js';

/** On what this process measures. */
export function factsOf(measurement: string): Facts {
  return {
    measurement,
    cores: availableParallelism(),
    cpu: cpus()[0]?.model ?? 'unknown',
    node: process.version,
    platform: `${platform()} ${arch()}`,
    at: new Date().toISOString(),
  };
}
