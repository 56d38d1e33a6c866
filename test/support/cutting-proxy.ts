import { connect, createServer, type AddressInfo, type Socket } from 'node:net';

/** A way to PostgreSQL, or to a broker, that can lose answers: what was asked takes effect, and the connection breaks instead. */
export interface CuttingProxy {
  /** The same database, through the proxy. */
  url: string;
  /** Cuts the connection instead of passing on the answer to the next `times` statements that hold this text. */
  cut(text: string, times: number): void;
  /** How many of those are still to be cut. */
  left(text: string): number;
  close(): Promise<void>;
}

export async function cuttingProxy(databaseUrl: string): Promise<CuttingProxy> {
  const target = new URL(databaseUrl);
  const sockets = new Set<Socket>();
  const marks = new Map<string, number>();
  const server = createServer((client) => {
    const upstream = connect(Number(target.port), target.hostname);
    // Of another protocol, what was sent.
    const asked = target.protocol.startsWith('postgres')
      ? statementsOf()
      : (chunk: Buffer) => [chunk.toString('latin1')];
    let losesNextAnswer = false;
    for (const [socket, other] of [
      [client, upstream],
      [upstream, client],
    ] as const) {
      sockets.add(socket);
      socket.on('error', () => other.destroy());
      socket.on('close', () => {
        sockets.delete(socket);
        other.destroy();
      });
    }
    client.on('data', (chunk) => {
      const statements = asked(chunk);
      for (const [text, left] of marks) {
        if (left === 0 || !statements.some((statement) => statement.includes(text))) continue;
        marks.set(text, left - 1);
        losesNextAnswer = true;
      }
      upstream.write(chunk);
    });
    upstream.on('data', (chunk) => {
      if (losesNextAnswer) client.destroy();
      else client.write(chunk);
    });
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const url = new URL(databaseUrl);
  url.hostname = '127.0.0.1';
  url.port = String((server.address() as AddressInfo).port);
  return {
    url: url.href,
    cut: (text, times) => void marks.set(text, times),
    left: (text) => marks.get(text) ?? 0,
    close: async () => {
      const closed = new Promise((resolve) => server.close(resolve));
      for (const socket of sockets) socket.destroy();
      await closed;
    },
  };
}

/**
 * Reads what a client sends on one connection (PostgreSQL's protocol, version 3): of each piece, the statements that it has
 * executed, those that were named before among them.
 */
function statementsOf(): (chunk: Buffer) => string[] {
  const named = new Map<string, string>();
  let rest = Buffer.alloc(0);
  // The first message has no type.
  let typeBytes = 0;
  return (chunk) => {
    const found: string[] = [];
    rest = Buffer.concat([rest, chunk]);
    while (rest.length >= typeBytes + 4) {
      const end = typeBytes + rest.readUInt32BE(typeBytes);
      if (rest.length < end) break;
      const type = typeBytes === 0 ? '' : String.fromCharCode(rest[0]!);
      const [first = '', second = ''] = rest
        .subarray(typeBytes + 4, end)
        .toString('latin1')
        .split('\0', 2);
      if (type === 'Q') found.push(first);
      if (type === 'P') named.set(first, second);
      if (type === 'B') found.push(named.get(second) ?? '');
      rest = rest.subarray(end);
      typeBytes = 1;
    }
    return found;
  };
}
