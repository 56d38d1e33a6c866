import { formatNumber } from '../table.js';
import { type Bounds, bytesSlack, type Costs, type Guarded } from './bounds.js';

/** One figure held against its bound. */
export interface Finding {
  of: string;
  figure: string;
  measured: number;
  bound: number;
  verdict: 'holds' | 'less' | 'MORE';
}

/** Holds what was measured of one shape against its bounds. */
export function judged(measured: Bounds, bounds: Bounds): Finding[] {
  const costs = (Object.entries(bounds.costs) as [Guarded, Costs][]).flatMap(([of, bound]) =>
    (Object.keys(bound) as (keyof Costs)[]).map((figure) => {
      const most = figure === 'databaseBytes' ? Math.floor(bound[figure] * bytesSlack) : bound[figure];
      const least = figure === 'databaseBytes' ? Math.floor(bound[figure] / bytesSlack) : bound[figure];
      return finding(of, figure, measured.costs[of][figure], bound[figure], { most, least });
    }),
  );
  const ratios = (Object.keys(bounds.ratios) as (keyof Bounds['ratios'])[]).map((figure) =>
    finding('creds', `${figure} ÷ bare SDK`, measured.ratios[figure], bounds.ratios[figure], {
      most: bounds.ratios[figure],
      least: 0,
    }),
  );
  return [...costs, ...ratios];
}

function finding(
  of: string,
  figure: string,
  measured: number,
  bound: number,
  { most, least }: { most: number; least: number },
): Finding {
  return { of, figure, measured, bound, verdict: measured > most ? 'MORE' : measured < least ? 'less' : 'holds' };
}

/** As lines of a table; what is nothing and may be nothing is left out. */
export function findingRows(findings: Finding[]): string[][] {
  return findings
    .filter(({ measured, bound }) => measured > 0 || bound > 0)
    .map(({ of, figure, measured, bound, verdict }) => [
      `${of}: ${figure}`,
      ...[measured, bound].map((value) => (Number.isInteger(value) ? String(value) : formatNumber(value))),
      verdict,
    ]);
}
