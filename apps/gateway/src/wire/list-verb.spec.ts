import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { once } from 'node:events';
import type { Server, ServerResponse } from 'node:http';
import { Caller, lines, over, serve, stopServing, tell, until } from './wire.spec-stub.js';

const host = 'Host: vault\r\n';
const list = (path: string, headers = '', body = '') => `LIST ${path} HTTP/1.1\r\n${host}${headers}\r\n${body}`;
const get = (path: string) => `GET ${path} HTTP/1.1\r\n${host}\r\n`;
const withLength = (verb: string, path: string, body: string) =>
  `${verb} ${path} HTTP/1.1\r\n${host}Content-Length: ${body.length}\r\n\r\n${body}`;
const inChunks = (verb: string, path: string, ...chunks: string[]) =>
  `${verb} ${path} HTTP/1.1\r\n${host}Transfer-Encoding: chunked\r\n\r\n` +
  `${chunks.map((chunk) => `${chunk.length.toString(16)}\r\n${chunk}\r\n`).join('')}0\r\n\r\n`;

/** Repeatable chance (mulberry32). */
function chance(seed: number): (below: number) => number {
  let state = seed;
  return (below) => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) % below;
  };
}

describe.each(lines)('the verb LIST over %s', (line) => {
  over(line);
  let server: Server;
  let caller: Caller;

  beforeEach(async () => {
    server = await serve();
    caller = await Caller.to(server);
  });

  afterEach(stopServing);

  it('reaches the application as a GET whose verbOf is LIST', async () => {
    caller.send(list('/v1/aws/roles?x=1'));
    expect(await caller.bodies(1)).toEqual(['LIST(GET) /v1/aws/roles?x=1']);
  });

  it.each([1, 2, 3, 4, 5])('is taught together with HELP, wherever the network cuts it: %i', async (cut) => {
    const help = list('/v1/aws').replace('LIST', 'HELP');
    await caller.deliver(get('/a') + help.slice(0, cut), help.slice(cut) + list('/b') + help.replace('/aws', '/c'));
    expect(await caller.bodies(4)).toEqual(['GET /a', 'HELP(GET) /v1/aws', 'LIST(GET) /b', 'HELP(GET) /v1/c']);
    const other = await Caller.to(server);
    await other.deliver('HELLO /a HTTP/1.1\r\n');
    await until(
      () => other.answers().length === 1,
      () => 'no answer to HELLO',
    );
    expect(other.answers()[0]).toMatchObject({ status: 405 });
    other.socket.destroy();
  });

  it('leaves the connection open for more of its kind and of any other', async () => {
    for (const [index, text] of [
      list('/a'),
      list('/b'),
      get('/c'),
      list('/d'),
      withLength('PUT', '/e', '{}'),
    ].entries()) {
      await caller.deliver(text);
      await caller.bodies(index + 1);
    }
    expect(await caller.bodies(5)).toEqual(['LIST(GET) /a', 'LIST(GET) /b', 'GET /c', 'LIST(GET) /d', 'PUT /e {}']);
  });

  it.each([
    ['the first request', '', []],
    ['a request behind a GET in the same packet', get('/before'), ['GET /before']],
    ['a request behind a body in the same packet', withLength('PUT', '/before', '{"LI":1}'), ['PUT /before {"LI":1}']],
    ['a request behind blank lines', '\r\n\r\n', []],
  ])('may be cut by the network at any byte of %s', async (_, before, answered) => {
    const text = before + list('/v1/aws/roles', 'X-Vault-Token: t\r\n');
    for (let cut = 1; cut < text.length; cut += 1) {
      const one = await Caller.to(server);
      await one.deliver(text.slice(0, cut), text.slice(cut));
      expect([cut, ...(await one.bodies(answered.length + 1))]).toEqual([cut, ...answered, 'LIST(GET) /v1/aws/roles']);
      one.socket.destroy();
    }
  });

  it('may come one byte at a time, again and again', async () => {
    for (let round = 1; round <= 3; round += 1) {
      await caller.deliver(...list(`/round/${round}`, '', ''), ...get('/between'));
      await caller.bodies(2 * round);
    }
    expect(await caller.bodies(6)).toEqual([1, 2, 3].flatMap((round) => [`LIST(GET) /round/${round}`, 'GET /between']));
  });

  it.each([
    ['with a length', withLength('LIST', '/a', '{"a":"LIST /b HTTP/1.1"}'), 'LIST(GET) /a {"a":"LIST /b HTTP/1.1"}'],
    ['in chunks', inChunks('LIST', '/a', 'abc', 'LIST /b'), 'LIST(GET) /a abcLIST /b'],
  ])('may carry a body %s, which ends where it says', async (_, text, seen) => {
    caller.send(text + get('/next'));
    expect(await caller.bodies(2)).toEqual([seen, 'GET /next']);
  });

  it('consumes a body that the application never reads', async () => {
    server = await serve((request, response) => response.end(request.url));
    caller = await Caller.to(server);
    caller.send(withLength('LIST', '/a', 'x'.repeat(200_000)) + list('/b'));
    expect(await caller.bodies(2)).toEqual(['/a', '/b']);
  });

  it('lets a caller wait for 100 Continue', async () => {
    caller.send(list('/a', 'Expect: 100-continue\r\nContent-Length: 2\r\n'));
    await until(
      () => caller.answers().length === 1,
      () => 'no 100',
    );
    expect(caller.answers()[0]).toMatchObject({ status: 100 });
    caller.send('{}');
    expect((await caller.bodies(2))[1]).toBe('LIST(GET) /a {}');
  });

  it('keeps the answers in order while earlier requests are still being worked on', async () => {
    const open: ServerResponse[] = [];
    server = await serve((_request, response) => open.push(response));
    caller = await Caller.to(server);
    await caller.deliver(get('/1') + withLength('PUT', '/2', 'UN') + list('/3') + get('/4') + list('/5'), list('/6'));
    await until(
      () => open.length === 2,
      () => 'two requests before the LIST',
    );
    expect(caller.answers()).toEqual([]);
    open[1]!.end('second');
    open[0]!.end('first');
    for (const [at, body] of ['third', 'fourth', 'fifth', 'sixth'].entries()) {
      await until(
        () => open.length > at + 2,
        () => `request ${at + 3}`,
      );
      open[at + 2]!.end(body);
    }
    expect(await caller.bodies(6)).toEqual(['first', 'second', 'third', 'fourth', 'fifth', 'sixth']);
  });

  it('keeps every boundary in random conversations, cut at random', async () => {
    server = await serve(async (request, response) => {
      const seen = await tell(request);
      for (let turn = seen.length % 4; turn > 0; turn -= 1) await new Promise((resolve) => setImmediate(resolve));
      response.end(seen);
    });
    for (let seed = 1; seed <= 120; seed += 1) {
      const next = chance(seed);
      const body = () => 'LIST /x HTTP/1.1\r\nUN\r\n\r\n0'.slice(next(12), 12 + next(14));
      const requests = Array.from({ length: 1 + next(8) }, (_, at) => {
        const path = `/${at}`;
        const verb = ['LIST', 'LIST', 'PUT', 'POST', 'DELETE', 'GET'][next(6)]!;
        const seenAs = verb === 'LIST' ? 'LIST(GET)' : verb;
        const text = body();
        const shape = next(3);
        if (shape === 0) return [`${verb} ${path} HTTP/1.1\r\n${host}\r\n`, `${seenAs} ${path}`] as const;
        const sent = shape === 1 ? withLength(verb, path, text) : inChunks(verb, path, ...(text ? [text, '!'] : []));
        return [sent, `${seenAs} ${path} ${text}${shape === 2 && text ? '!' : ''}`.trim()] as const;
      });
      const packets: string[] = [];
      for (let rest = requests.map(([sent]) => sent).join(''); rest !== '';) {
        const length = 1 + next(next(2) === 0 ? 8 : 400);
        packets.push(rest.slice(0, length));
        rest = rest.slice(length);
      }
      const one = await Caller.to(server);
      await one.deliver(...packets);
      expect([seed, ...(await one.bodies(requests.length))]).toEqual([seed, ...requests.map(([, seen]) => seen)]);
      one.socket.destroy();
    }
  });

  it('takes headers as long as Node takes for any verb, and no longer', async () => {
    caller.send(list('/a', `X-Long: ${'x'.repeat(15_000)}\r\n`));
    expect(await caller.bodies(1)).toEqual(['LIST(GET) /a']);
    caller.send(list('/a', `X-Long: ${'x'.repeat(17_000)}\r\n`));
    expect((await caller.ended())[1]).toMatchObject({ status: 431, body: '{"errors":[]}' });
  });

  it('may wait for its turn longer than headers may take, but its verb may not', async () => {
    const open: ServerResponse[] = [];
    server = await serve((_request, response) => open.push(response));
    caller = await Caller.to(server);
    const timeout = Object.assign(new Error('Request timeout'), { code: 'ERR_HTTP_REQUEST_TIMEOUT' });
    await caller.deliver(get('/slow') + list('/behind'));
    server.emit('clientError', timeout, caller.serverSocket); // as Node tells of a message begun too long ago
    open[0]!.end('slow');
    await until(
      () => open.length === 2,
      () => 'no LIST',
    );
    open[1]!.end('behind');
    expect(await caller.bodies(2)).toEqual(['slow', 'behind']);
    await caller.deliver('LIS');
    server.emit('clientError', timeout, caller.serverSocket);
    expect((await caller.ended())[2]).toMatchObject({ status: 408, body: '{"errors":[]}' });
  });

  it('sees the caller hang up while the LIST waits behind a request', async () => {
    let gone = false;
    server = await serve((_request, response) => response.on('close', () => (gone = true)));
    caller = await Caller.to(server);
    await caller.deliver(get('/slow') + list('/behind') + get('/more'));
    caller.socket.end();
    await until(
      () => gone,
      () => 'the request never heard of it',
    );
  });

  it('holds back a caller that sends on and on while its LIST waits', async () => {
    let first: ServerResponse | undefined;
    server = await serve(async (request, response) => {
      if (request.url !== '/slow') return void response.end(String((await tell(request)).length));
      first = response;
    });
    caller = await Caller.to(server);
    await caller.deliver(get('/slow') + list('/behind'));
    caller.send(withLength('PUT', '/big', 'x'.repeat(8_000_000)));
    await until(
      () => caller.serverSocket.isPaused(),
      () => 'never held back',
    );
    expect(caller.serverSocket.bytesRead).toBeLessThan(1_000_000);
    first!.end('slow');
    expect(await caller.bodies(3)).toEqual(['slow', '17', '8000009']);
  });

  it('gives a slow connection back its keep-alive time, not less', async () => {
    caller.send(list('/a'));
    await caller.bodies(1);
    expect(caller.serverSocket.timeout).toBeGreaterThanOrEqual(100_000);
    await caller.deliver('LIST');
    await caller.deliver(' /b');
    expect(caller.serverSocket.timeout).toBe(90_000); // that of a request which is answered
  });

  describe('over 2,000 times', () => {
    const hooks = (one: Caller) =>
      one.serverSocket.eventNames().map((name) => [String(name), one.serverSocket.listenerCount(name)]);

    it('leaves nothing on one connection', async () => {
      caller.send(list('/0'));
      await caller.bodies(1);
      caller.send(list('/1'));
      await caller.bodies(2);
      const before = hooks(caller);
      for (let round = 0; round < 20; round += 1) {
        caller.send(Array.from({ length: 100 }, (_, at) => list(`/${at}`)).join(''));
        await until(
          () => caller.answers().length === 2 + 100 * (round + 1),
          () => `round ${round}`,
        );
      }
      expect(hooks(caller)).toEqual(before);
      expect(await countOf(server)).toBe(1);
      const closed = once(server, 'close');
      server.close(); // idle connections end at once
      await closed;
    });

    it('leaves nothing on many connections', async () => {
      for (let round = 0; round < 20; round += 1) {
        const callers = await Promise.all(Array.from({ length: 10 }, () => Caller.to(server)));
        for (const one of callers) one.send(Array.from({ length: 10 }, (_, at) => list(`/${at}`)).join(''));
        for (const one of callers) expect(await one.bodies(10)).toHaveLength(10);
        for (const one of callers) one.socket.destroy();
      }
      caller.socket.destroy();
      const closed = once(server, 'close');
      server.close();
      await closed;
      expect(await countOf(server)).toBe(0);
    });
  });
});

function countOf(server: Server): Promise<number> {
  return new Promise((resolve, reject) => {
    server.getConnections((error, count) => (error ? reject(error) : resolve(count)));
  });
}
