/** A point's line of the table. */
export interface Line {
  name: string;
  victim: string;
  runs: number;
  killed: number;
  left: string[];
  ms: number;
}

/** Point, service, runs, killed, what was left, and the time of one run, as a table for people. */
export function table(lines: Line[]): string {
  const sum = (of: (line: Line) => number) => lines.reduce((total, line) => total + of(line), 0);
  const rows = [
    ['point', 'service', 'runs', 'killed', 'left', 's per run'],
    ...lines.map((line) => row(line)),
    row({
      name: `${lines.length} points`,
      victim: '',
      runs: sum((line) => line.runs),
      killed: sum((line) => line.killed),
      left: lines.flatMap((line) => line.left),
      ms: sum((line) => line.ms),
    }),
  ];
  const widths = rows[0]!.map((_, column) => Math.max(...rows.map((each) => each[column]!.length)));
  return rows
    .map((each) =>
      each.map((cell, column) => (column < 2 ? cell.padEnd(widths[column]!) : cell.padStart(widths[column]!))),
    )
    .map((each) => each.join('  '))
    .join('\n');
}

function row({ name, victim, runs, killed, left, ms }: Line): string[] {
  const seconds = runs === 0 ? '-' : (ms / runs / 1000).toFixed(1);
  return [name, victim, String(runs), String(killed), String(left.length), seconds];
}
