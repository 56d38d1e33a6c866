import { afterEach, describe, expect, it } from '@jest/globals';
import type { ServerResponse } from 'node:http';
import { hangUpOf } from './hang-up.js';
import { Caller, serve, stopServing, until } from './wire.spec-stub.js';

const get = (path: string) => `GET ${path} HTTP/1.1\r\nHost: vault\r\n\r\n`;

/** A server that leaves every answer to the test. */
async function listening() {
  const asked: { response: ServerResponse; hangUp: AbortSignal }[] = [];
  const server = await serve((_request, response) => void asked.push({ response, hangUp: hangUpOf(response) }));
  const caller = await Caller.to(server);
  const ask = async (...paths: string[]) => {
    const count = asked.length + paths.length;
    caller.send(paths.map(get).join(''));
    await until(
      () => asked.length === count,
      () => `${asked.length} requests of ${count}`,
    );
    return asked.slice(-paths.length);
  };
  let isGone = false;
  caller.serverSocket.once('close', () => (isGone = true));
  const connectionIsGone = () =>
    until(
      () => isGone,
      () => 'still open',
    );
  return { caller, ask, connectionIsGone };
}

describe('hangUpOf', () => {
  afterEach(stopServing);

  it.each(['destroy', 'resetAndDestroy', 'end'] as const)('tells when the caller leaves (%s)', async (leave) => {
    const { caller, ask, connectionIsGone } = await listening();
    const [only] = await ask('/1');
    caller.socket[leave]();
    await connectionIsGone();
    expect(only!.hangUp.aborted).toBe(true);
  });

  it('tells it also to answers whose turn has not come, be they written or not', async () => {
    const { caller, ask, connectionIsGone } = await listening();
    const [first, second, third] = await ask('/1', '/2', '/3');
    second!.response.end('second');
    caller.socket.destroy();
    await connectionIsGone();
    expect([first, second, third].map((each) => each!.hangUp.aborted)).toEqual([true, true, true]);
    third!.response.end('third'); // into the void
    first!.response.end('first');
  });

  it('tells it to an answer of which the network had not taken the last byte', async () => {
    const { caller, ask, connectionIsGone } = await listening();
    const [big, behind] = await ask('/1', '/2');
    caller.socket.pause();
    big!.response.end('x'.repeat(20_000_000));
    behind!.response.end('behind');
    await until(
      () => caller.serverSocket.writableLength > 0,
      () => 'nothing waits to be read',
    );
    caller.socket.resetAndDestroy();
    await connectionIsGone();
    expect([big, behind].map((each) => each!.hangUp.aborted)).toEqual([true, true]);
  });

  it('says nothing of an answer that was written before', async () => {
    const { caller, ask, connectionIsGone } = await listening();
    const [first, second, third] = await ask('/1', '/2', '/3');
    second!.response.end('second');
    first!.response.end('first');
    await caller.bodies(2);
    caller.socket.destroy();
    await connectionIsGone();
    expect([first, second, third].map((each) => each!.hangUp.aborted)).toEqual([false, false, true]);
  });

  it('tells who asks only after the connection is gone', async () => {
    const { caller, ask, connectionIsGone } = await listening();
    const both = await ask('/1', '/2');
    caller.socket.destroy();
    await connectionIsGone();
    expect(both.map(({ response }) => hangUpOf(response).aborted)).toEqual([true, true]);
  });

  it('leaves nothing on a connection that is kept', async () => {
    const { caller, ask } = await listening();
    const hooks = () =>
      caller.serverSocket.eventNames().map((name) => [String(name), caller.serverSocket.listenerCount(name)]);
    const round = async (count: number) => {
      const before = caller.answers().length;
      const paths = Array.from({ length: count }, (_, at) => `/${at}`);
      for (const { response } of await ask(...paths)) response.end('answer');
      await caller.bodies(before + count);
    };
    await round(1);
    const before = hooks();
    for (let at = 0; at < 20; at += 1) await round(100);
    expect(hooks()).toEqual(before);
  });
});
