import { connect, createServer, type AddressInfo } from 'node:net';

/** A line to a server on which every byte is written down. */
export interface Tap {
  /** The same server, through the tap. */
  url: string;
  /** What has crossed so far: one buffer per connection and direction, whole, however it was cut into packets. */
  seen(): Buffer[];
  close(): Promise<void>;
}

export async function tap(targetUrl: string): Promise<Tap> {
  const url = new URL(targetUrl);
  const { port, hostname } = url;
  const streams: Buffer[][] = [];
  const closing: (() => void)[] = [];
  const server = createServer((client) => {
    const upstream = connect(Number(port), hostname);
    closing.push(() => client.destroy());
    for (const [from, to] of [
      [client, upstream],
      [upstream, client],
    ] as const) {
      const stream: Buffer[] = [];
      streams.push(stream);
      from.on('data', (chunk: Buffer) => {
        stream.push(chunk);
        to.write(chunk);
      });
      from.on('error', () => to.destroy());
      from.on('close', () => to.destroy());
    }
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  url.hostname = '127.0.0.1';
  url.port = String((server.address() as AddressInfo).port);
  return {
    url: url.href,
    seen: () => streams.map((stream) => Buffer.concat(stream)),
    close: async () => {
      const closed = new Promise((resolve) => server.close(resolve));
      for (const close of closing) close();
      await closed;
    },
  };
}
