import { connect, createServer, type AddressInfo, type Socket } from 'node:net';

/** A method of AMQP that a client sends, by its class and its own number. */
export type AmqpMethod = readonly [classId: number, methodId: number];

/** A line to the broker that breaks, once each time it is told to, at the moment when a client sends a given method. */
export class CuttingBrokerLine {
  /** Methods that it has broken at. */
  readonly cuts: AmqpMethod[] = [];
  private next: AmqpMethod | null = null;
  private readonly sockets = new Set<Socket>();

  private constructor(
    readonly url: string,
    private readonly end: () => void,
  ) {}

  static async to(brokerUrl: string): Promise<CuttingBrokerLine> {
    const broker = new URL(brokerUrl);
    const server = createServer((client) => line.carry(client, broker));
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    const url = new URL(brokerUrl);
    url.port = String((server.address() as AddressInfo).port);
    const line = new CuttingBrokerLine(url.href, () => server.close());
    return line;
  }

  /** From now on: the connections there are break, and the next that sends this method does too. */
  breakAt(method: AmqpMethod): void {
    this.next = method;
    for (const socket of this.sockets) socket.destroy();
  }

  close(): void {
    this.end();
    for (const socket of this.sockets) socket.destroy();
  }

  private carry(client: Socket, { hostname, port }: URL): void {
    const broker = connect(Number(port), hostname);
    for (const socket of [client, broker]) {
      this.sockets.add(socket);
      socket.on('error', () => undefined);
      socket.on('close', () => {
        this.sockets.delete(socket);
        client.destroy();
        broker.destroy();
      });
    }
    broker.on('data', (chunk) => client.write(chunk));
    let unread = Buffer.alloc(0);
    let greeted = false;
    client.on('data', (chunk: Buffer) => {
      unread = Buffer.concat([unread, chunk]);
      if (!greeted && unread.length >= 8) {
        broker.write(unread.subarray(0, 8)); // "AMQP" and the version
        unread = unread.subarray(8);
        greeted = true;
      }
      // A frame: type, channel, length of its content, content, end.
      while (greeted && unread.length >= 7 && unread.length >= 8 + unread.readUInt32BE(3)) {
        const frame = unread.subarray(0, 8 + unread.readUInt32BE(3));
        unread = unread.subarray(frame.length);
        if (this.breaksAt(frame)) return void client.destroy();
        broker.write(frame);
      }
    });
  }

  private breaksAt(frame: Buffer): boolean {
    const isMethod = frame[0] === 1;
    const { next } = this;
    if (!next || !isMethod || frame.readUInt16BE(7) !== next[0] || frame.readUInt16BE(9) !== next[1]) return false;
    this.cuts.push(next);
    this.next = null;
    return true;
  }
}
