import { describe, expect, it } from '@jest/globals';
import { once } from 'node:events';
import { createServer, type IncomingMessage, request, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { defaultLimits } from '../wire/wire-limits.js';
import { Admission } from './admission.js';

const kib = 1024;

/** A server whose every request goes through one admission; the test ends the answers. */
async function admitting(limits: Partial<typeof defaultLimits>) {
  const admission = new Admission({ ...defaultLimits, ...limits });
  const told: (string | number)[] = [];
  const open: ServerResponse[] = [];
  const admit = async (asked: IncomingMessage, answer: ServerResponse) => {
    admission.enter(asked, answer, asked.url === '/health');
    told.push((await admission.read(asked)).length);
    open.push(answer);
  };
  const server = createServer((asked, answer) => {
    admit(asked, answer).catch((error: Error) => {
      told.push(error.message);
      answer.end();
    });
  });
  await once(server.listen(0, '127.0.0.1'), 'listening');
  const { port } = server.address() as AddressInfo;
  const send = async (bytes: number, path = '/', headers: Record<string, string> = {}) => {
    const count = told.length;
    const asked = request({ port, host: '127.0.0.1', method: 'POST', path, headers, agent: false });
    asked.on('error', () => undefined);
    asked.end(Buffer.alloc(bytes));
    while (told.length === count) await new Promise((resolve) => setImmediate(resolve));
    return told.at(-1);
  };
  const answerAll = async () => {
    for (const answer of open.splice(0)) await once(answer.end(), 'close');
  };
  const stop = () => {
    server.closeAllConnections();
    server.close();
  };
  return { send, answerAll, stop };
}

describe('what callers have under way together', () => {
  it('is as many requests as are allowed, until one is answered; health is always told', async () => {
    const { send, answerAll, stop } = await admitting({ requests: 2 });
    const refused = expect.stringContaining('Too many requests are being answered');
    expect([await send(0), await send(0), await send(0), await send(0, '/health')]).toEqual([0, 0, refused, 0]);
    await answerAll();
    expect(await send(0)).toBe(0);
    stop();
  });

  it('is as many bytes as are allowed, until their requests are answered, refused or broken off', async () => {
    const { send, answerAll, stop } = await admitting({ bodiesBytes: 100 * kib });
    const refused = expect.stringContaining('Too much is being sent');
    expect([await send(60 * kib), await send(60 * kib), await send(30 * kib)]).toEqual([60 * kib, refused, 30 * kib]);
    await answerAll();
    expect([await send(100 * kib), await send(1)]).toEqual([100 * kib, refused]);
    stop();
  });

  it('is no body over the limit, whether its length was told or not', async () => {
    const { send, stop } = await admitting({ bodyBytes: kib });
    const chunked = { 'transfer-encoding': 'chunked' };
    const refused = 'http: request body too large';
    expect([await send(kib), await send(kib, '/', chunked)]).toEqual([kib, kib]);
    expect([await send(kib + 1), await send(kib + 1, '/', chunked)]).toEqual([refused, refused]);
    stop();
  });
});
