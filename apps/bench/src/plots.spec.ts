import { expect, it } from '@jest/globals';
import { drawn } from './plots.js';

const plot = {
  name: 'rates',
  title: 'Credentials per second',
  unit: '/s',
  kind: 'bars' as const,
  categories: ['1 issuer', '2 issuers'],
  series: [
    { name: 'measured', values: [71, undefined] },
    { name: 'ideal', values: [71, 142] },
  ],
};

it.each(['bars', 'lines'] as const)('draws %s as SVG, with its words', (kind) => {
  const image = drawn({ ...plot, kind });
  expect(image).toMatch(/^<svg [^]*<\/svg>\s*$/);
  for (const word of ['Credentials per second', '1 issuer', '2 issuers', 'measured', 'ideal']) {
    expect(image).toContain(word);
  }
});
