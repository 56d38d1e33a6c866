import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { type FastifyInstance, fastify } from 'fastify';
import { RateLimits } from './rate-limits.js';
import { networkOf, remoteAddressOf } from './remote-address.js';

describe('the address of a caller', () => {
  const servers: Record<string, FastifyInstance> = {};

  beforeAll(() => {
    for (const [name, trustProxy] of Object.entries({
      none: undefined,
      some: ['10.0.0.0/8', '192.168.1.1', 'fd00::/8'],
    })) {
      servers[name] = fastify(trustProxy ? { trustProxy } : {});
      servers[name].get('/', (request) => remoteAddressOf(request));
    }
  });
  afterAll(() => Promise.all(Object.values(servers).map((server) => server.close())));

  it.each([
    ['none', '10.0.0.1', '203.0.113.9', '10.0.0.1'],
    ['some', '203.0.113.1', '203.0.113.9', '203.0.113.1'],
    ['some', '10.0.0.1', '203.0.113.9', '203.0.113.9'],
    ['some', '10.0.0.1', '198.51.100.7, 203.0.113.9', '203.0.113.9'],
    ['some', '10.0.0.1', '198.51.100.7, 203.0.113.9, 10.2.3.4, 192.168.1.1', '203.0.113.9'],
    ['some', '10.0.0.1', '10.0.0.3, 10.0.0.2', '10.0.0.3'],
    ['some', '10.0.0.1', '', '10.0.0.1'],
    ['some', '10.0.0.1', 'unknown', '10.0.0.1'],
    ['some', '10.0.0.1', '203.0.113.9, <script>', '10.0.0.1'],
    ['some', '10.0.0.1', '203.0.113.9:1234', '10.0.0.1'],
    ['some', '::ffff:10.0.0.1', '203.0.113.9', '203.0.113.9'],
    ['some', '10.0.0.1', '::ffff:203.0.113.9', '203.0.113.9'],
    ['some', 'fd00::1', '2001:db8::9', '2001:db8::9'],
    ['none', '::ffff:10.0.0.1', '', '10.0.0.1'],
  ])('where %s are trusted and %s says %j is %s', async (trusted, remoteAddress, forwarded, expected) => {
    const headers = forwarded ? { 'x-forwarded-for': forwarded } : {};
    expect((await servers[trusted]!.inject({ url: '/', remoteAddress, headers })).payload).toBe(expected);
  });
});

describe('the network that is counted as one caller', () => {
  it.each([
    ['203.0.113.9', '203.0.113.9'],
    ['2001:db8:1:2:3:4:5:6', '2001:db8:1:2::/64'],
    ['2001:db8:1:2:ffff::', '2001:db8:1:2::/64'],
    ['2001:0DB8:0001:0002::1', '2001:db8:1:2::/64'],
    ['2001:db8::9', '2001:db8:0:0::/64'],
    ['::1', '0:0:0:0::/64'],
    ['fe80::1%eth0', 'fe80:0:0:0::/64'],
    ['64:ff9b::192.0.2.1', '64:ff9b:0:0::/64'],
    ['1:2:3:4:5:6:192.0.2.1', '1:2:3:4::/64'],
    ['', ''],
  ])('of %s is %s', (address, network) => {
    expect(networkOf(address)).toBe(network);
  });

  it('is another one next door', () => {
    expect(networkOf('2001:db8:1:3::1')).not.toBe(networkOf('2001:db8:1:2::1'));
  });

  it('has one share of requests, whatever address of it asks', async () => {
    const limits = new RateLimits({ address: 2 });
    for (const host of [1, 2]) await limits.ofAddress(`2001:db8:1:2::${host}`);
    await expect(limits.ofAddress('2001:db8:1:2:ffff::3')).rejects.toThrow('Too many requests without a valid token');
    await limits.ofAddress('2001:db8:1:3::1');
    await limits.ofAddress('203.0.113.9');
  });
});
