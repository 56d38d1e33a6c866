import { peerFigures } from './peer.js';
import type { Section } from './report.js';
import { formatNumber } from './table.js';

/** Figures that the system is judged by. */
export type FigureName =
  | keyof typeof peerFigures
  | 'credsAddedP50'
  | 'credsAddedP99'
  | 'revokeAddedP50'
  | 'revokeAddedP99'
  | 'assumedAddedP50'
  | 'assumedAddedP99';

export type Figures = Partial<Record<FigureName, number>>;

/** `most` and `least`: what it is to be, or the peer's figure; `aim`: so many times the peer is hoped for. */
interface Target {
  figure: FigureName;
  text: string;
  unit: string;
  most?: number | 'peer';
  least?: 'peer';
  aim?: number;
}

const targets: Target[] = [
  { figure: 'credsMs0', text: 'creds, 1 caller, AWS at 0 ms', unit: 'ms', most: 'peer' },
  { figure: 'credsMs20', text: 'creds, AWS at 20 ms', unit: 'ms', most: 'peer' },
  { figure: 'credsMs50', text: 'creds, AWS at 50 ms: 2.2 × AWS', unit: 'ms', most: 110 },
  { figure: 'revokeMs0', text: 'revoke, 1 caller, AWS at 0 ms', unit: 'ms', most: 'peer' },
  { figure: 'revokeMs20', text: 'revoke, AWS at 20 ms', unit: 'ms', most: 'peer' },
  { figure: 'revokeMs50', text: 'revoke, AWS at 50 ms: 2.3 × AWS', unit: 'ms', most: 115 },
  { figure: 'assumedMs0', text: 'assumed role, AWS at 0 ms', unit: 'ms', most: 'peer' },
  { figure: 'assumedMs50', text: 'assumed role, AWS at 50 ms', unit: 'ms', most: 'peer' },
  { figure: 'federationMs0', text: 'federation token, AWS at 0 ms', unit: 'ms', most: 'peer' },
  { figure: 'federationMs50', text: 'federation token, AWS at 50 ms', unit: 'ms', most: 'peer' },
  { figure: 'credsAddedP50', text: 'creds, 16 callers: p50 added to AWS at 50 ms', unit: 'ms', most: 8 },
  { figure: 'credsAddedP99', text: 'creds, 16 callers: p99 added', unit: 'ms', most: 25 },
  { figure: 'revokeAddedP50', text: 'revoke, 16 callers: p50 added', unit: 'ms', most: 8 },
  { figure: 'revokeAddedP99', text: 'revoke, 16 callers: p99 added', unit: 'ms', most: 25 },
  { figure: 'assumedAddedP50', text: 'assumed role, 16 callers: p50 added', unit: 'ms', most: 8 },
  { figure: 'assumedAddedP99', text: 'assumed role, 16 callers: p99 added', unit: 'ms', most: 25 },
  { figure: 'renewMs1', text: 'renew, 1 caller', unit: 'ms', most: 'peer' },
  { figure: 'renewMs16', text: 'renew, 16 callers', unit: 'ms', most: 'peer' },
  { figure: 'renewPerSecond', text: 'renew, 16 callers', unit: '/s', least: 'peer' },
  { figure: 'credsPerSecond', text: 'creds, 64 callers, AWS at 0 ms', unit: '/s', least: 'peer', aim: 1.5 },
  { figure: 'revokePerSecond', text: 'revoke, 64 callers', unit: '/s', least: 'peer', aim: 1.5 },
  { figure: 'assumedPerSecond', text: 'assumed role, 64 callers', unit: '/s', least: 'peer', aim: 1.5 },
  { figure: 'roleReadPerSecond', text: 'role read, 64 callers', unit: '/s', least: 'peer' },
  { figure: 'cpuPerCredentialMs', text: 'CPU per credential, 64 callers', unit: 'ms', most: 'peer' },
  { figure: 'lateP50Seconds', text: '3,000 due in the same second: late p50', unit: 's', most: 'peer' },
  { figure: 'lateP99Seconds', text: '3,000 due in the same second: late p99', unit: 's', most: 2 },
  { figure: 'idleMb', text: 'memory, idle', unit: 'MB', most: 'peer' },
  { figure: 'loadedMb', text: 'memory, 20,000 leases', unit: 'MB', most: 'peer' },
  { figure: 'prefixSeconds', text: '300 leases revoked by prefix, AWS at 50 ms', unit: 's', most: 'peer' },
];

export type Verdict = 'met' | 'aim met' | 'missed' | 'not measured' | 'not known';

/** A target, held against what was measured. */
export interface Judged {
  figure: FigureName;
  text: string;
  unit: string;
  measured: number | undefined;
  peer: number | undefined;
  /** Measured ÷ peer. */
  ratio: number | undefined;
  limit: number | undefined;
  verdict: Verdict;
}

/** Holds figures against the targets, and against those of a peer: as it was measured in the same run, or by the table. */
export function judge(figures: Figures, peer: Figures): Judged[] {
  return targets.map(({ figure, text, unit, most, least, aim }) => {
    const [measured, ofPeer] = [figures[figure], peer[figure]];
    const bound = most ?? least;
    const limit = bound === 'peer' ? ofPeer : bound;
    const ratio = measured !== undefined && ofPeer !== undefined ? measured / ofPeer : undefined;
    const isMet = measured !== undefined && limit !== undefined && (most ? measured <= limit : measured >= limit);
    const isAimed = isMet && aim !== undefined && ratio !== undefined && ratio >= aim;
    const verdict: Verdict =
      measured === undefined
        ? 'not measured'
        : limit === undefined
          ? 'not known'
          : isAimed
            ? 'aim met'
            : isMet
              ? 'met'
              : 'missed';
    return { figure, text, unit, measured, peer: ofPeer, ratio, limit, verdict };
  });
}

export function targetSection(system: string, judged: Judged[], note: string): Section {
  const isMost = (figure: FigureName) => targets.find((target) => target.figure === figure)!.most !== undefined;
  return {
    title: `${system} against the targets`,
    head: ['', 'measured', 'peer', 'ratio', 'target', 'verdict'],
    rows: judged
      .filter(({ measured }) => measured !== undefined)
      .map(({ figure, text, unit, measured, peer, ratio, limit, verdict }) => [
        text,
        `${formatNumber(measured)} ${unit}`,
        peer === undefined ? '–' : `${formatNumber(peer)} ${unit}`,
        ratio === undefined ? '–' : `${formatNumber(ratio)}×`,
        limit === undefined ? '–' : `${isMost(figure) ? '≤' : '≥'} ${formatNumber(limit)}`,
        verdict,
      ]),
    note,
  };
}
