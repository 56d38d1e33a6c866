import { afterEach, describe, expect, it } from '@jest/globals';
import type { Server } from 'node:http';
import { verbOf } from './list-verb.js';
import { Caller, lines, over, serve, stopServing, tell, until } from './wire.spec-stub.js';

const host = 'Host: vault\r\n';
const hidden = `DELETE /hidden HTTP/1.1\r\n${host}\r\n`;
const bytes = (text: string) => Buffer.byteLength(text, 'latin1');

describe.each(lines)('a request over %s that hides another', (line) => {
  over(line);
  let seen: string[];

  afterEach(stopServing);

  async function serveAndSee(): Promise<Server> {
    seen = [];
    return serve(async (request, response) => {
      const at = seen.push(`${verbOf(request)} ${request.url}`) - 1;
      const told = await tell(request);
      seen[at] = told.replace(/\s+/g, ' ');
      response.end(told);
    });
  }

  /** Everything that was answered to `text`, once the server has ended the connection or answered the request `/last`. */
  async function statusesOf(text: string, packets?: number): Promise<number[]> {
    const caller = await Caller.to(await serveAndSee());
    const whole = `${text}GET /last HTTP/1.1\r\n${host}\r\n`;
    if (packets) await caller.deliver(...(whole.match(new RegExp(`[^]{1,${packets}}`, 'g')) ?? []));
    else caller.send(whole);
    await until(
      () => caller.hungUp || caller.socket.readableEnded || seen.includes('GET /last'),
      () => seen.join(),
    );
    await until(
      () => caller.hungUp || caller.socket.readableEnded || caller.answers().some(({ body }) => body === 'GET /last'),
      () => seen.join(),
    );
    return caller.answers().map(({ status }) => status);
  }

  describe.each(['POST', 'LIST', 'GET'])('%s', (verb) => {
    it.each<[string, string, string]>([
      [
        'a length beside chunks',
        `Content-Length: ${bytes(hidden)}\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n`,
        hidden,
      ],
      ['chunks beside a length', `Transfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n`, hidden],
      ['two lengths', `Content-Length: 0\r\nContent-Length: ${bytes(hidden)}\r\n\r\n`, hidden],
      ['two lengths in one line', `Content-Length: 0, ${bytes(hidden)}\r\n\r\n`, hidden],
      ['a negative length', `Content-Length: -1\r\n\r\n`, hidden],
      ['a length with a sign', `Content-Length: +5\r\n\r\n`, hidden],
      ['a length in hexadecimal', `Content-Length: 0x10\r\n\r\n`, hidden],
      ['a length of another world', `Content-Length: 99999999999999999999\r\n\r\n`, hidden],
      ['chunks twice', `Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n\r\n0\r\n\r\n`, hidden],
      ['chunks that are not last', `Transfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n`, hidden],
      ['a space before the colon', `Content-Length : ${bytes(hidden)}\r\n\r\n`, hidden],
      ['a vertical tab in chunked', `Transfer-Encoding: \vchunked\r\n\r\n0\r\n\r\n`, hidden],
      ['a line that goes on', `X: a\r\n Content-Length: ${bytes(hidden)}\r\n\r\n`, hidden],
      ['a NUL in a header', `X: a\0b\r\n\r\n`, hidden],
      ['a lone carriage return', `X: a\rContent-Length: ${bytes(hidden)}\r\n\r\n`, hidden],
      ['a chunk size that is none', `Transfer-Encoding: chunked\r\n\r\n-1\r\n`, hidden],
      ['a chunk size that runs over', `Transfer-Encoding: chunked\r\n\r\nfffffffffffffffff\r\n`, hidden],
      ['a chunk longer than it says', `Transfer-Encoding: chunked\r\n\r\n1\r\nab\r\n0\r\n\r\n`, hidden],
    ])('with %s is answered once, and the hidden one never', async (_, rest, second) => {
      for (const packets of [undefined, 1]) {
        const statuses = await statusesOf(`${verb} /open HTTP/1.1\r\n${host}${rest}${second}`, packets);
        expect(statuses.filter((status) => status === 400)).toHaveLength(1);
        expect(seen.filter((told) => !/^(LIST\(GET\)|LIST|POST|GET) \/open$/.test(told))).toEqual([]);
      }
    });

    it('that is a body is read as a body', async () => {
      const asked = verb === 'LIST' ? 'LIST(GET)' : verb;
      for (const packets of [undefined, 1, 7]) {
        const inside = `${hidden}LIST /too HTTP/1.1\r\n${host}\r\n`;
        const withLength = `${verb} /a HTTP/1.1\r\n${host}Content-Length: ${bytes(inside)}\r\n\r\n${inside}`;
        const size = bytes(inside).toString(16);
        const chunked = `${verb} /b HTTP/1.1\r\n${host}Transfer-Encoding: chunked\r\n\r\n${size};x=LIST\r\n${inside}\r\n0\r\n\r\n`;
        expect(await statusesOf(withLength + chunked, packets)).toEqual([200, 200, 200]);
        const body = inside.replace(/\s+/g, ' ').trim();
        expect(seen).toEqual([`${asked} /a ${body}`, `${asked} /b ${body}`, 'GET /last']);
      }
    });
  });

  it('is answered once with every request behind a LIST in the same packet, whatever their verbs', async () => {
    const post = `POST /p HTTP/1.1\r\n${host}Content-Length: 4\r\n\r\nLIST`;
    const list = `LIST /l HTTP/1.1\r\n${host}\r\n`;
    expect(await statusesOf(list + post + list + list + post + `LINK /x HTTP/1.1\r\n${host}\r\n` + list)).toEqual([
      ...[200, 200, 200, 200, 200, 405, 200, 200],
    ]);
    expect(seen).toEqual([
      ...['LIST(GET) /l', 'POST /p LIST', 'LIST(GET) /l', 'LIST(GET) /l', 'POST /p LIST', 'LIST(GET) /l', 'GET /last'],
    ]);
  });

  it.each([
    ['a verb with a body', `LISTEN /x HTTP/1.1\r\n${host}Content-Length: 5\r\n\r\nhello`],
    ['what is no HTTP', 'LIST /x FTP/1.1\r\n\r\n'],
    ['a LIST without a version', 'LIST /x\r\n\r\n'],
    ['a LIST of an old version with a body', `LIST /x HTTP/0.9\r\n${host}Content-Length: 5\r\n\r\nhello`],
    ['a line of 20,000 characters', `LIST /${'x'.repeat(20_000)} HTTP/1.1\r\n${host}\r\n`],
    ['a LIST that wants another protocol', `PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n`],
  ])('is not done behind %s, which ends the connection', async (_, text) => {
    for (const packets of text.length > 1_000 ? [undefined] : [undefined, 1]) {
      const statuses = await statusesOf(text + hidden, packets);
      // Whoever goes on sending may lose the answer to the reset that this earns.
      expect(statuses.filter((status) => status < 400)).toEqual([]);
      expect(statuses.length).toBeLessThanOrEqual(1);
      expect(seen).toEqual([]);
    }
  });
});
