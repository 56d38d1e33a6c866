import { expect, it } from '@jest/globals';
import { asMarkdown, asText, type Report } from './report.js';

const report: Report = {
  sections: [
    { title: 'Rates', head: ['', '/s'], rows: [['a|b', '12']], note: 'All of it.' },
    { title: 'Nothing', head: ['', 'x'], rows: [] },
  ],
  plots: [{ name: 'rates', title: 'Rates', unit: '/s', kind: 'bars', categories: ['a'], series: [] }],
  data: {},
};
const where = {
  measurement: 'scale',
  cores: 2,
  cpu: 'some CPU',
  node: 'v20.19.0',
  platform: 'linux x64',
  at: '2026-01-02T03:04:05.000Z',
};

it('leaves out of a terminal what was not measured', () => {
  expect(asText(report)).toBe('Rates\n     /s\na|b  12\nAll of it.');
});

it('is a page with tables and pictures, and says where it was measured', () => {
  const page = asMarkdown(report, where, ({ name }) => `x-${name}.svg`);
  expect(page).toContain('Measured 2026-01-02 with `npm run bench -- scale` on 2 cores (some CPU), Node v20.19.0');
  expect(page).toContain('## Rates\n\n|  | /s |\n| --- | ---: |\n| a\\|b | 12 |\n\nAll of it.\n');
  expect(page).toContain('![Rates](x-rates.svg)');
  expect(page).not.toContain('Nothing');
});
