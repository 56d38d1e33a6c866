import { describe, expect, it } from '@jest/globals';
import pg from 'pg';
import { CountingLine, type Reader } from './counting-line.js';
import { publishes, redisCommands, statements } from './readers.js';

/** All that is read of these bytes, in pieces of each size. */
function readInPieces(newReader: () => Reader, bytes: Buffer): string[][] {
  return [1, 3, 7, bytes.length].map((size) => {
    const read = newReader();
    return Array.from({ length: Math.ceil(bytes.length / size) }, (_, piece) =>
      read(bytes.subarray(piece * size, (piece + 1) * size)),
    ).flat();
  });
}

describe('statements of PostgreSQL', () => {
  it('are counted each time one is executed, also where it has a name, and passed on as they are', async () => {
    const line = await CountingLine.to(process.env.TEST_DATABASE_URL!, statements);
    const client = new pg.Client({ connectionString: line.url });
    await client.connect();
    line.clear();
    try {
      const text = 'select $1::int as answer';
      for (const answer of [1, 2]) {
        const { rows } = await client.query({ name: 'asked', text, values: [answer] });
        expect(rows).toEqual([{ answer }]);
      }
      await client.query('begin');
      await client.query('select $1::text', ['x'.repeat(100_000)]);
      await client.query('commit');
      expect(line.asked).toEqual([text, text, 'begin', 'select $1::text', 'commit']);
      expect(line.bytes).toBeGreaterThan(200_000);
    } finally {
      await client.end();
      line.close();
    }
  });
});

describe('messages to RabbitMQ', () => {
  const frame = (type: number, content: Buffer) => {
    const head = Buffer.alloc(7);
    head.writeUInt8(type, 0);
    head.writeUInt16BE(1, 1);
    head.writeUInt32BE(content.length, 3);
    return Buffer.concat([head, content, Buffer.from([0xce])]);
  };
  const method = (classId: number, methodId: number) => {
    const content = Buffer.alloc(12);
    content.writeUInt16BE(classId, 0);
    content.writeUInt16BE(methodId, 2);
    return frame(1, content);
  };

  it('are those that are published, however they are cut in pieces', () => {
    const body = frame(3, Buffer.from([0, 60, 0, 40])); // looks like a publish, and is none
    const bytes = [Buffer.from('AMQP\0\0\x09\x01', 'latin1'), method(60, 40), body, method(60, 80), method(60, 40)];
    for (const names of readInPieces(publishes, Buffer.concat(bytes))) expect(names).toEqual(['publish', 'publish']);
  });
});

describe('commands to Redis', () => {
  it('are told by name, however they are cut in pieces', () => {
    const bytes = '*2\r\n$3\r\nGET\r\n$6\r\na\r\nb*1\r\n*3\r\n$7\r\nEVALSHA\r\n$2\r\nxy\r\n$0\r\n\r\nPING\r\n';
    for (const names of readInPieces(redisCommands, Buffer.from(bytes)))
      expect(names).toEqual(['get', 'evalsha', 'PING']);
  });
});
