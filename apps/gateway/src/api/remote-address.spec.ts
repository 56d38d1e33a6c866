import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { type FastifyInstance, fastify } from 'fastify';
import { remoteAddressOf } from './remote-address.js';

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
