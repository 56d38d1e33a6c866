import { afterEach, describe, expect, it } from '@jest/globals';
import type { Server, ServerResponse } from 'node:http';
import { All, Controller, Module, Req } from '@nestjs/common';
import { NestFactory } from '@nestjs/core';
import { FastifyAdapter, type NestFastifyApplication } from '@nestjs/platform-fastify';
import type { FastifyRequest } from 'fastify';
import { hangUpOf } from './hang-up.js';
import { createHttpServer } from './http-server.js';
import { verbOf } from './list-verb.js';
import { Caller, lines, over, serve, stopServing, until } from './wire.spec-stub.js';

const host = 'Host: vault\r\n';
const get = (path: string) => `GET ${path} HTTP/1.1\r\n${host}\r\n`;
const put = (path: string, rest: string) => `PUT ${path} HTTP/1.1\r\n${host}${rest}`;

describe.each(lines)('createHttpServer over %s', (line) => {
  over(line);
  afterEach(stopServing);

  it('keeps connections, headers and requests to the limits of the contract', () => {
    const { keepAliveTimeout, headersTimeout, requestTimeout, timeout } = createHttpServer(() => {});
    expect({ keepAliveTimeout, headersTimeout, requestTimeout, timeout }).toEqual({
      keepAliveTimeout: 300_000,
      headersTimeout: 10_000,
      requestTimeout: 30_000,
      timeout: 90_000,
    });
  });

  describe('refuses, and ends the connection', () => {
    it.each<[string, string, number]>([
      ['an unknown verb', `FOO /x HTTP/1.1\r\n${host}\r\n`, 405],
      ['a verb that begins as HELP', `HELPER /x HTTP/1.1\r\n${host}\r\n`, 405],
      ['the verb SCAN', `SCAN /x HTTP/1.1\r\n${host}\r\n`, 405],
      ['a verb that begins as LIST', `LISTEN /x HTTP/1.1\r\n${host}\r\n`, 405],
      ['a verb that ends as LIST', `BLIST /x HTTP/1.1\r\n${host}\r\n`, 405],
      ['LIST in small letters', `list /x HTTP/1.1\r\n${host}\r\n`, 405],
      ['a verb of another protocol', `PLAY /x HTTP/1.1\r\n${host}\r\n`, 405],
      ['CONNECT', `CONNECT x:1 HTTP/1.1\r\n${host}\r\n`, 405],
      ['what is not HTTP', 'GET /x SMTP\r\n\r\n', 400],
      ['a request without Host', 'GET /x HTTP/1.1\r\n\r\n', 400],
      ['a LIST without Host', 'LIST /x HTTP/1.1\r\n\r\n', 400],
      ['a LIST of nothing', 'LIST \r\n\r\n', 400],
      ['a header line without a colon', `GET /x HTTP/1.1\r\n${host}bad\r\n\r\n`, 400],
      ['a length beside chunks', put('/x', 'Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n'), 400],
      ['two lengths', put('/x', 'Content-Length: 3\r\nContent-Length: 4\r\n\r\nabcd'), 400],
      ['a broken chunk', put('/x', 'Transfer-Encoding: chunked\r\n\r\nzz\r\n'), 400],
      ['HTTP/2', 'PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n', 400],
      ['an expectation it does not know', `GET /x HTTP/1.1\r\n${host}Expect: magic\r\n\r\n`, 417],
      ['headers without end', `GET /x HTTP/1.1\r\n${host}${'a:b\r\n'.repeat(150)}\r\n`, 431],
      ['headers over the limit', `GET /x HTTP/1.1\r\n${host}X: ${'x'.repeat(40_000)}\r\n\r\n`, 431],
      ['a path over the limit', `LIST /${'x'.repeat(40_000)} HTTP/1.1\r\n${host}\r\n`, 431],
    ])('%s', async (_, text, status) => {
      const caller = await Caller.to(await serve());
      caller.send(text);
      const answers = await caller.ended();
      expect(answers).toMatchObject([{ status, body: '{"errors":[]}' }]);
      expect(answers[0]!.headers).toEqual(
        expect.arrayContaining(['Content-Type: application/json', 'Cache-Control: no-store', 'Connection: close']),
      );
    });

    it('an unknown verb, wherever the network cuts it', async () => {
      const text = `LISTEN /x HTTP/1.1\r\n${host}\r\n`;
      const server = await serve();
      for (let cut = 1; cut < 12; cut += 1) {
        const caller = await Caller.to(server);
        await caller.deliver(text.slice(0, cut), text.slice(cut));
        expect([cut, ...(await caller.ended())]).toMatchObject([cut, { status: 405 }]);
      }
    });

    it.each(['LIST /x HTTP/1.1\r\n', 'LIST', 'LIS', 'LI', ''])(
      'headers that do not come in time: %p is all',
      async (text) => {
        const limits = { headersMs: 50, receiveMs: 100 };
        for (const before of ['', get('/x')]) {
          if (!text && before) continue; // a connection that is kept alive
          const caller = await Caller.to(await serve(undefined, limits));
          if (before) await caller.deliver(before);
          caller.send(text);
          expect((await caller.ended()).at(-1)).toMatchObject({ status: 408, body: '{"errors":[]}' });
        }
      },
    );

    it.each(['FOO', 'CONNECT'])('the verb %s after the answers to what came before it', async (verb) => {
      const open: ServerResponse[] = [];
      const server = await serve((_request, response) => open.push(response));
      const caller = await Caller.to(server);
      await caller.deliver(get('/1') + get('/2') + `${verb} x:1 HTTP/1.1\r\n${host}\r\n`);
      expect(caller.answers()).toEqual([]);
      open[1]!.end('second');
      open[0]!.end('first');
      expect((await caller.ended()).map(({ status, body }) => [status, body])).toEqual([
        [200, 'first'],
        [200, 'second'],
        [405, '{"errors":[]}'],
      ]);
    });

    it('a body that does not come in time', async () => {
      const caller = await Caller.to(await serve(undefined, { headersMs: 50, receiveMs: 50 }));
      caller.send(put('/x', 'Content-Length: 9\r\n\r\nab'));
      expect(await caller.ended()).toMatchObject([{ status: 408, body: '{"errors":[]}' }]);
    });

    it('a request that is not answered in time, whose handler hears of it', async () => {
      let hangUp: AbortSignal | undefined;
      const server = await serve((_request, response) => (hangUp = hangUpOf(response)), { requestMs: 50 });
      const caller = await Caller.to(server);
      caller.send(get('/slow'));
      expect(await caller.ended()).toMatchObject([{ status: 503, body: '{"errors":[]}' }]);
      expect(hangUp?.aborted).toBe(true);
    });

    it('a broken body at once, though its request waits for the rest', async () => {
      const server = await serve();
      const caller = await Caller.to(server);
      await caller.deliver(get('/before'), put('/x', 'Transfer-Encoding: chunked\r\n\r\n2\r\nab\r\n'));
      await caller.bodies(1);
      await caller.deliver('zz\r\n');
      expect((await caller.ended()).map(({ status }) => status)).toEqual([200, 400]);
    });

    it('nothing in words where an answer is half written', async () => {
      const server = await serve((_request, response) => {
        response.writeHead(200, { 'Content-Length': 100 });
        response.write('half');
      });
      const caller = await Caller.to(server);
      await caller.deliver(put('/x', 'Transfer-Encoding: chunked\r\n\r\n2\r\nab\r\n'), 'zz\r\n');
      await until(
        () => caller.hungUp,
        () => 'still open',
      );
      expect(caller.answers()).toEqual([]);
    });

    it('a caller that does not stop sending, who still gets to read why', async () => {
      const caller = await Caller.to(await serve());
      caller.send(`GET /x HTTP/1.1\r\n${host}X: ${'x'.repeat(5_000_000)}\r\n\r\n`);
      expect(await caller.ended()).toMatchObject([{ status: 431 }]);
    });
  });

  it.each(['PROPFIND', 'OPTIONS', 'TRACE', 'LINK'])(
    'refuses the verb %s, which its parser knows, with its body, and serves what comes behind it',
    async (verb) => {
      const caller = await Caller.to(await serve());
      const refused = `${verb} /x HTTP/1.1\r\n${host}Content-Length: 20\r\n\r\nGET /y HTTP/1.1\r\n\r\n\r`;
      caller.send(get('/1') + refused + get('/2') + `LIST /3 HTTP/1.1\r\n${host}\r\n`);
      expect(await caller.bodies(4)).toEqual(['GET /1', '405 {"errors":[]}', 'GET /2', 'LIST(GET) /3']);
    },
  );

  it('answers nothing behind an answer that closes the connection', async () => {
    const caller = await Caller.to(await serve());
    caller.send(`GET /last HTTP/1.1\r\n${host}Connection: close\r\n\r\nLIST /x HTTP/1.1\r\n${host}\r\n`);
    expect((await caller.ended()).map(({ body }) => body)).toEqual(['GET /last']);
  });

  it('takes a target with a host for the path in it, as a proxy is asked', async () => {
    const caller = await Caller.to(await serve());
    caller.send(
      `GET http://x@vault:1/v1/a?b=http://c HTTP/1.1\r\n${host}\r\nLIST http://vault HTTP/1.1\r\n${host}\r\n`,
    );
    expect(await caller.bodies(2)).toEqual(['GET /v1/a?b=http://c', 'LIST(GET) /']);
  });

  it('survives callers that reset the connection at every stage', async () => {
    const server = await serve();
    const stages = [
      '',
      'L',
      'LIS',
      `LIST /x HTTP/1.1\r\n`,
      get('/x').slice(0, -2),
      put('/x', 'Content-Length: 9\r\n\r\nab'),
      'FOO',
    ];
    for (const stage of stages) {
      const caller = await Caller.to(server);
      if (stage) await caller.deliver(stage);
      caller.reset();
      await until(
        () => caller.serverSocket.destroyed,
        () => `${stage} is still open`,
      );
    }
    const caller = await Caller.to(server);
    caller.send(get('/alive'));
    expect(await caller.bodies(1)).toEqual(['GET /alive']);
  });

  it('closes though callers are in the middle of a word', async () => {
    const server = await serve();
    const caller = await Caller.to(server);
    await caller.deliver('LIS');
    const closed = new Promise((resolve) => server.close(resolve));
    caller.socket.destroy();
    await closed;
    expect(await connectionsOf(server)).toBe(0);
  });

  describe('under Nest and Fastify', () => {
    @Controller()
    class Echo {
      @All('*')
      echo(@Req() request: FastifyRequest): string {
        return `${request.method} ${request.url} ${verbOf(request.raw) === 'LIST'}`;
      }
    }
    @Module({ controllers: [Echo] })
    class EchoModule {}

    it('serves LIST, and answers faults once', async () => {
      const adapter = new FastifyAdapter({
        serverFactory: (handler: Parameters<typeof createHttpServer>[0]) => createHttpServer(handler),
      });
      const app = await NestFactory.create<NestFastifyApplication>(EchoModule, adapter, { logger: false });
      await app.listen(0, '127.0.0.1');
      const caller = await Caller.to(app.getHttpServer() as Server);
      caller.send(
        `LIST /v1/aws/roles HTTP/1.1\r\n${host}\r\n${get('/v1/x')}LIST /y HTTP/1.1\r\n${host}\r\nFOO / HTTP/1.1\r\n\r\n`,
      );
      expect((await caller.ended()).map(({ status, body }) => [status, body])).toEqual([
        [200, 'GET /v1/aws/roles true'],
        [200, 'GET /v1/x false'],
        [200, 'GET /y true'],
        [405, '{"errors":[]}'],
      ]);
      await app.close();
    });
  });
});

function connectionsOf(server: Server): Promise<number> {
  return new Promise((resolve, reject) => {
    server.getConnections((error, count) => (error ? reject(error) : resolve(count)));
  });
}
