import type { Outcome } from './bench.js';
import { ownCpuMs, type PhaseRow, rowsOf, stepsOf } from './phases.js';
import type { Figures } from './targets.js';

/** What the phases say, by the names of the targets. */
export function figuresOf(outcomes: Outcome[]): Figures {
  const [latency, throughput] = [rowsOf(outcomes, 'latency'), rowsOf(outcomes, 'throughput')];
  const at = (operation: string, awsMs: number, callers = 1) =>
    latency.find((row) => row.operation === operation && row.awsMs === awsMs && row.callers === callers);
  const rate = (operation: string) => throughput.find((row) => row.operation === operation);
  const added = (operation: string, key: 'p50Ms' | 'p99Ms') => {
    const row = at(operation, 50, 16);
    return row && row[key] - stepsOf[operation]! * 50;
  };
  const figures: Record<keyof Figures, number | undefined> = {
    credsMs0: at('creds', 0)?.p50Ms,
    credsMs20: at('creds', 20)?.p50Ms,
    credsMs50: at('creds', 50)?.p50Ms,
    revokeMs0: at('revoke', 0)?.p50Ms,
    revokeMs20: at('revoke', 20)?.p50Ms,
    revokeMs50: at('revoke', 50)?.p50Ms,
    assumedMs0: at('assumed-role', 0)?.p50Ms,
    assumedMs50: at('assumed-role', 50)?.p50Ms,
    federationMs0: at('federation-token', 0)?.p50Ms,
    federationMs50: at('federation-token', 50)?.p50Ms,
    credsAddedP50: added('creds', 'p50Ms'),
    credsAddedP99: added('creds', 'p99Ms'),
    revokeAddedP50: added('revoke', 'p50Ms'),
    revokeAddedP99: added('revoke', 'p99Ms'),
    assumedAddedP50: added('assumed-role', 'p50Ms'),
    assumedAddedP99: added('assumed-role', 'p99Ms'),
    renewMs1: at('renew', 0)?.p50Ms,
    renewMs16: at('renew', 0, 16)?.p50Ms,
    renewPerSecond: at('renew', 0, 16)?.perSecond,
    credsPerSecond: rate('creds')?.perSecond,
    revokePerSecond: rate('revoke')?.perSecond,
    assumedPerSecond: rate('assumed-role')?.perSecond,
    roleReadPerSecond: rate('role-read')?.perSecond,
    cpuPerCredentialMs: cpuOfCreds(rate('creds')),
    lateP50Seconds: undefined,
    lateP99Seconds: undefined,
    idleMb: undefined,
    loadedMb: undefined,
    prefixSeconds: undefined,
  };
  // What was not measured is not there.
  return Object.fromEntries(Object.entries(figures).filter(([, value]) => value !== undefined)) as Figures;
}

const cpuOfCreds = (row: PhaseRow | undefined) => row && ownCpuMs(row);
