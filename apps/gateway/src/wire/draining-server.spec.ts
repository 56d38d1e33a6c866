import { afterEach, describe, expect, it } from '@jest/globals';
import type { IncomingMessage, Server, ServerResponse } from 'node:http';
import { Controller, Get, Module } from '@nestjs/common';
import { NestFactory } from '@nestjs/core';
import { FastifyAdapter, type NestFastifyApplication } from '@nestjs/platform-fastify';
import { createHttpServer } from './http-server.js';
import { Caller, lines, over, serve, stopServing, tell, until } from './wire.spec-stub.js';

const host = 'Host: vault\r\n';
const get = (path: string) => `GET ${path} HTTP/1.1\r\n${host}\r\n`;
const put = (path: string, length: number, body: string) =>
  `PUT ${path} HTTP/1.1\r\n${host}Content-Length: ${length}\r\n\r\n${body}`;

/** Longer than any of these tests may take: what ends a connection in them must be something else. */
const forEver = 600_000;
const patient = { bodyMs: forEver, answerMs: forEver };

/** A server whose answers to paths below `/held` wait until they are asked for. */
async function serveHeld(patience: { bodyMs: number; answerMs: number } = patient) {
  const held: ServerResponse[] = [];
  const handler = async (request: IncomingMessage, response: ServerResponse) => {
    const told = await tell(request);
    if (request.url!.startsWith('/held')) held.push(response);
    else response.end(told);
  };
  return { held, server: await serve(handler, patience) };
}

const closing = (server: Server) => new Promise((resolve) => server.close(resolve));
const gone = (caller: Caller) =>
  until(
    () => caller.hungUp,
    () => 'still open',
  );
const arrived = (held: ServerResponse[], count: number) =>
  until(
    () => held.length === count,
    () => `${held.length} requests of ${count}`,
  );
const saysClose = (caller: Caller) => caller.answers().map(({ headers }) => headers.includes('Connection: close'));

describe.each(lines)('a server over %s that is closed', (line) => {
  over(line);
  afterEach(stopServing);

  it.each([
    ['said nothing', ''],
    ['sent half a request line', 'GE'],
    ['sent half its headers', `GET /x HTTP/1.1\r\n${host}`],
    ['began to say LIST', 'LIS'],
    ['was answered and keeps the connection', get('/1')],
    ['was answered and went on with half its headers', `${get('/1')}GET /2 HTTP/1.1\r\n`],
    ['was answered and began to say LIST', `${get('/1')}LIST`],
  ])('lets a caller go at once that %s', async (_, text) => {
    const { server } = await serveHeld();
    const caller = await Caller.to(server);
    await caller.deliver(text);
    if (text.startsWith(get('/1'))) await caller.bodies(1);
    const closed = closing(server);
    await gone(caller);
    await closed;
  });

  it('finishes the answers that it owes, says so in the last one, and closes behind it', async () => {
    const { server, held } = await serveHeld();
    const caller = await Caller.to(server);
    await caller.deliver(get('/held/1') + get('/held/2'));
    await arrived(held, 2);
    const closed = closing(server);
    held[1]!.end('second');
    held[0]!.end('first');
    await closed;
    await gone(caller);
    expect(await caller.bodies(2)).toEqual(['first', 'second']);
    expect(saysClose(caller)).toEqual([false, true]);
  });

  it('closes behind an answer that had begun before', async () => {
    const { server, held } = await serveHeld();
    const caller = await Caller.to(server);
    await caller.deliver(get('/held'));
    await arrived(held, 1);
    held[0]!.writeHead(200, { 'Content-Length': 8 }).write('half');
    const closed = closing(server);
    held[0]!.end('half');
    await closed;
    await gone(caller);
    expect(await caller.bodies(1)).toEqual(['halfhalf']);
  });

  it('serves what still comes over a connection that waits for an answer', async () => {
    const { server, held } = await serveHeld();
    const caller = await Caller.to(server);
    await caller.deliver(get('/held'));
    await arrived(held, 1);
    const closed = closing(server);
    await caller.deliver(get('/2') + put('/3', 3, 'a'), 'bc');
    held[0]!.end('first');
    await closed;
    await gone(caller);
    expect(await caller.bodies(3)).toEqual(['first', 'GET /2', 'PUT /3 abc']);
    expect(saysClose(caller)).toEqual([false, false, true]);
  });

  it('does not process what comes behind an answer that has said that it is the last', async () => {
    const seen: string[] = [];
    let first: ServerResponse | undefined;
    const server = await serve((request, response) => {
      seen.push(request.url!);
      if (request.url === '/first') first = response;
      else response.end('second');
    }, patient);
    const caller = await Caller.to(server);
    await caller.deliver(get('/first'));
    await until(
      () => first !== undefined,
      () => 'nothing arrived',
    );
    const closed = closing(server);
    await caller.deliver(get('/second'));
    await until(
      () => seen.length === 2,
      () => 'one arrived',
    );
    await caller.deliver(get('/third'));
    first!.end('first');
    await closed;
    await gone(caller);
    expect(await caller.bodies(2)).toEqual(['first', 'second']);
    expect(seen).toEqual(['/first', '/second']);
  });

  it('does not cut an answer that its caller is slow to read', async () => {
    const size = 20_000_000;
    const server = await serve((_request, response) => response.end('x'.repeat(size)), patient);
    const caller = await Caller.to(server);
    caller.socket.pause();
    caller.send(get('/big'));
    await until(
      () => caller.serverSocket.writableLength > 0,
      () => 'nothing waits to be read',
    );
    const closed = closing(server);
    caller.socket.resume();
    await closed;
    expect((await caller.ended()).map(({ body }) => body.length)).toEqual([size]);
  });

  it('gives a body some time to arrive', async () => {
    const { server } = await serveHeld();
    const caller = await Caller.to(server);
    await caller.deliver(put('/x', 4, 'ab'));
    const closed = closing(server);
    await caller.deliver('cd');
    await closed;
    expect(await caller.bodies(1)).toEqual(['PUT /x abcd']);
    expect(saysClose(caller)).toEqual([true]);
  });

  it('lets a caller go whose body does not arrive in that time', async () => {
    const { server } = await serveHeld({ bodyMs: 20, answerMs: forEver });
    const caller = await Caller.to(server);
    await caller.deliver(put('/x', 4, 'ab'));
    await closing(server);
    await gone(caller);
  });

  it('gives the same time to a body that begins while it closes', async () => {
    const { server, held } = await serveHeld({ bodyMs: 20, answerMs: forEver });
    const caller = await Caller.to(server);
    await caller.deliver(get('/held'));
    await arrived(held, 1);
    const closed = closing(server);
    await caller.deliver(put('/x', 4, 'ab'));
    held[0]!.end('first');
    await closed;
    await gone(caller);
    expect(await caller.bodies(1)).toEqual(['first']);
  });

  it('lets everybody go in the end', async () => {
    const { server, held } = await serveHeld({ bodyMs: forEver, answerMs: 50 });
    const callers = [await Caller.to(server), await Caller.to(server)];
    await callers[0]!.deliver(get('/held'));
    await callers[1]!.deliver(get('/held') + put('/held', 2, 'a'));
    await arrived(held, 2);
    await closing(server);
    for (const caller of callers) await gone(caller);
  });

  it('is closed at once when nobody ever called, or it never listened', async () => {
    await closing(await serve());
    expect(await closing(createHttpServer(() => {}))).toMatchObject({ code: 'ERR_SERVER_NOT_RUNNING' });
  });

  it('closes under Nest and Fastify, and serves what comes meanwhile', async () => {
    let release!: (text: string) => void;
    let reached!: () => void;
    const atWork = new Promise<void>((resolve) => (reached = resolve));
    @Controller()
    class Slow {
      @Get('slow')
      slow(): Promise<string> {
        reached();
        return new Promise((resolve) => (release = resolve));
      }
      @Get('quick')
      quick(): string {
        return 'quick';
      }
    }
    @Module({ controllers: [Slow] })
    class SlowModule {}
    const adapter = new FastifyAdapter({
      serverFactory: (handler: Parameters<typeof createHttpServer>[0]) => createHttpServer(handler, patient),
      return503OnClosing: false,
    });
    const app = await NestFactory.create<NestFastifyApplication>(SlowModule, adapter, { logger: false });
    await app.listen(0, '127.0.0.1');
    const server = app.getHttpServer() as Server;
    const idle = await Caller.to(server);
    idle.send(get('/quick'));
    await idle.bodies(1);
    const busy = await Caller.to(server);
    busy.send(get('/slow'));
    await atWork;
    const closed = app.close();
    await gone(idle);
    await busy.deliver(get('/quick') + get('/quick'));
    release('slow');
    await closed;
    expect(await busy.bodies(3)).toEqual(['slow', 'quick', 'quick']);
    expect(saysClose(busy)).toEqual([false, false, true]);
  });
});
