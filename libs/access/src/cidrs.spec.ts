import { expect, it } from '@jest/globals';
import { addressIsIn, badCidr, cidrsAreWithin } from './cidrs.js';

it.each([
  ['10.1.2.3', ['10.0.0.0/8'], true],
  ['11.1.2.3', ['10.0.0.0/8'], false],
  ['::ffff:10.1.2.3', ['10.0.0.0/8'], true],
  ['10.1.2.3', ['192.168.0.0/16', '10.1.2.3'], true],
  ['10.1.2.4', ['10.1.2.3'], false],
  ['fd00::1', ['fd00::/8'], true],
  ['fe80::1%eth0', ['fe80::/10'], true],
  ['10.1.2.3', ['fd00::/8'], false],
  ['10.1.2.3', ['0.0.0.0/0'], true],
  ['', ['0.0.0.0/0'], false],
  ['nonsense', ['0.0.0.0/0'], false],
  ['10.1.2.3', [], false],
])('%s is in %j: %s', (address, cidrs, isIn) => {
  expect(addressIsIn(address, cidrs)).toBe(isIn);
});

it.each(['10.0.0.0/33', '10.0.0/8', 'fd00::/129', '10.0.0.0/8/8', '10.0.0.0/', '10.0.0.0/-1', '', 'host'])(
  '"%s" is no block of addresses',
  (cidr) => {
    expect(badCidr(['10.0.0.0/8', cidr])).toBe(cidr);
  },
);

it.each([
  [['10.1.0.0/16'], ['10.0.0.0/8'], true],
  [['10.0.0.0/8'], ['10.1.0.0/16'], false],
  [['10.1.0.0/16', '11.0.0.0/16'], ['10.0.0.0/8'], false],
  [['fd00:1::/32'], ['10.0.0.0/8', 'fd00::/8'], true],
  [['10.1.2.3'], ['10.1.2.3/32'], true],
])('%j is within %j: %s', (inner, outer, isWithin) => {
  expect(cidrsAreWithin(inner, outer)).toBe(isWithin);
});
