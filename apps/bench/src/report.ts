import { formatTable } from './table.js';

/** Some of what was measured: a table, and what must be known to read it. */
export interface Section {
  title: string;
  head: string[];
  rows: string[][];
  note?: string;
}

/** A picture of some of it. */
export interface Plot {
  /** Part of the file's name. */
  name: string;
  title: string;
  /** Of the values. */
  unit: string;
  kind: 'bars' | 'lines';
  categories: string[];
  series: { name: string; values: (number | undefined)[] }[];
}

/** All of it, as it is told to a terminal and kept. */
export interface Report {
  sections: Section[];
  plots: Plot[];
  /** The figures behind it, for programs. */
  data: object;
}

/** On what it was measured; nothing that names a machine or a person. */
export interface Facts {
  measurement: string;
  cores: number;
  cpu: string;
  node: string;
  platform: string;
  at: string;
}

/** For a terminal. */
export function asText({ sections }: Report): string {
  return sections
    .filter(({ rows }) => rows.length > 0)
    .map(({ title, head, rows, note }) => `${title}\n${formatTable(head, rows)}${note ? `\n${note}` : ''}`)
    .join('\n\n');
}

/** For people who were not there; `plotFile` says in which file a plot is. */
export function asMarkdown(report: Report, where: Facts, plotFile: (plot: Plot) => string): string {
  const { measurement, cores, cpu, node, platform, at } = where;
  const parts = [
    `# ${measurement}`,
    `Measured ${at.slice(0, 10)} with \`npm run bench -- ${measurement}\` on ${cores} cores (${cpu}), Node ${node}, ${platform}; load, simulated AWS and all servers are on the same cores.`,
    ...report.sections
      .filter(({ rows }) => rows.length > 0)
      .map(({ title, head, rows, note }) =>
        [`## ${title}`, markdownTable(head, rows), ...(note ? [note] : [])].join('\n\n'),
      ),
    ...report.plots.map((plot) => `![${plot.title}](${plotFile(plot)})`),
  ];
  return `${parts.join('\n\n')}\n`;
}

function markdownTable(head: string[], rows: string[][]): string {
  const line = (cells: string[]) => `| ${cells.map((cell) => cell.replaceAll('|', '\\|')).join(' | ')} |`;
  const rule = head.map((_, column) => (column === 0 ? '---' : '---:'));
  return [head, rule, ...rows].map(line).join('\n');
}
