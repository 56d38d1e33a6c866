import { type AddressInfo, connect, createServer, type Socket } from 'node:net';

/** Reads what one client sends, piece by piece: the names of what each piece completes. */
export type Reader = (chunk: Buffer) => string[];

/** A line to a server that passes everything on, and counts what clients ask over it. */
export class CountingLine {
  /** What was asked since `clear`, in order. */
  asked: string[] = [];
  /** In both directions, since `clear`. */
  bytes = 0;
  private readonly sockets = new Set<Socket>();

  private constructor(
    readonly url: string,
    private readonly end: () => void,
  ) {}

  /** `newReader` makes a reader for each connection. */
  static async to(serverUrl: string, newReader: () => Reader): Promise<CountingLine> {
    const target = new URL(serverUrl);
    const server = createServer({ noDelay: true }, (client) => line.carry(client, target, newReader()));
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    const url = new URL(serverUrl);
    url.hostname = '127.0.0.1';
    url.port = String((server.address() as AddressInfo).port);
    const line: CountingLine = new CountingLine(url.href, () => server.close());
    return line;
  }

  clear(): void {
    this.asked = [];
    this.bytes = 0;
  }

  close(): void {
    this.end();
    for (const socket of this.sockets) socket.destroy();
  }

  private carry(client: Socket, { hostname, port }: URL, read: Reader): void {
    const server = connect({ host: hostname.replace(/^\[|\]$/g, ''), port: Number(port), noDelay: true });
    for (const [socket, other] of [
      [client, server],
      [server, client],
    ] as const) {
      this.sockets.add(socket);
      socket.on('error', () => other.destroy());
      socket.on('close', () => {
        this.sockets.delete(socket);
        other.destroy();
      });
      socket.on('data', (chunk: Buffer) => {
        this.bytes += chunk.length;
        if (socket === client) this.asked.push(...read(chunk));
        other.write(chunk);
      });
    }
  }
}
