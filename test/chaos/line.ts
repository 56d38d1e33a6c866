import { connect, createServer, type AddressInfo, type Server, type Socket } from 'node:net';

/** Which way something goes: `out` of the service to the server, or `in`. */
export type Direction = 'out' | 'in';

/** A whole message on a line: `text` says what it is, as far as it can be read. */
export interface Passing {
  text: string;
  bytes: Buffer;
}

/** Cuts the bytes of one direction into whole messages; keeps the rest for the next bytes. */
export type Cutter = (direction: Direction) => (bytes: Buffer) => Passing[];

/** A message that is waited for. */
export interface Stop {
  /** Resolves when it is held back (`before`), or has gone through (`after`). */
  reached: Promise<void>;
  /** Lets through what is held, and forgets what was waited for. */
  release(): void;
}

interface Rule {
  direction: Direction;
  matches: (text: string) => boolean;
  stage: 'before' | 'after';
  reach: () => void;
}

/** One service's way to a server: what passes can be watched, and held back together with all that follows it. */
export class Line {
  private readonly sockets = new Set<Socket>();
  private readonly rules = new Set<Rule>();
  private readonly held = new Set<() => void>();

  private constructor(
    /** The same server, through the line. */
    readonly url: string,
    private readonly server: Server,
    private readonly onPass: (direction: Direction, text: string) => void,
  ) {}

  static async open(
    serverUrl: string,
    cutter: Cutter,
    onPass: (direction: Direction, text: string) => void = () => undefined,
  ): Promise<Line> {
    const target = new URL(serverUrl);
    const port = Number(target.port || (target.protocol === 'redis:' ? 6379 : 5672));
    const server = createServer((client) => line.join(client, connect(port, target.hostname), cutter));
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    const url = new URL(serverUrl);
    url.hostname = '127.0.0.1';
    url.port = String((server.address() as AddressInfo).port);
    const line: Line = new Line(url.href, server, onPass);
    return line;
  }

  /** Waits for the next message that matches. */
  waitFor(direction: Direction, stage: 'before' | 'after', matches: (text: string) => boolean): Stop {
    let reach = () => {};
    const reached = new Promise<void>((resolve) => (reach = resolve));
    const rule: Rule = { direction, matches, stage, reach };
    this.rules.add(rule);
    return {
      reached,
      release: () => {
        this.rules.delete(rule);
        for (const letGo of this.held) letGo();
      },
    };
  }

  async close(): Promise<void> {
    const closed = new Promise((resolve) => this.server.close(resolve));
    for (const socket of this.sockets) socket.destroy();
    await closed;
  }

  private join(client: Socket, server: Socket, cutter: Cutter): void {
    this.carry(client, server, 'out', cutter);
    this.carry(server, client, 'in', cutter);
  }

  private carry(from: Socket, to: Socket, direction: Direction, cutter: Cutter): void {
    this.sockets.add(from);
    const cut = cutter(direction);
    let queue: Passing[] | null = null;
    const letGo = () => {
      this.held.delete(letGo);
      const waiting = queue ?? [];
      queue = null;
      for (const each of waiting) to.write(each.bytes);
    };
    from.setNoDelay(true);
    from.on('data', (bytes) => {
      for (const passing of cut(bytes)) {
        const rule = [...this.rules].find((each) => each.direction === direction && each.matches(passing.text));
        if (rule) this.rules.delete(rule);
        if (rule?.stage === 'before') {
          queue ??= [];
          this.held.add(letGo);
        }
        if (queue) queue.push(passing);
        else {
          to.write(passing.bytes);
          this.onPass(direction, passing.text);
        }
        rule?.reach();
      }
    });
    from.on('error', () => to.destroy());
    from.on('close', () => {
      this.sockets.delete(from);
      // What a killed service still had under way is lost with it.
      this.held.delete(letGo);
      to.destroy();
    });
  }
}

/** Redis: whatever was written at once; the commands' texts can be read in it. */
export const asWritten: Cutter = () => (bytes) => [{ text: bytes.toString('latin1'), bytes }];

const methodNames: Record<string, string> = { '60.40': 'publish', '60.60': 'deliver', '60.80': 'ack' };
const frameEnd = 8; // type, channel and size before the payload, one octet after it

/** AMQP 0-9-1: a method, with the whole of its content where it has one. `publish` is followed by exchange and key. */
export const amqpMethods: Cutter = (direction) => {
  let rest = Buffer.alloc(0);
  let greeted = direction === 'in';
  let open: { passing: Passing; channel: number; left: number | null } | null = null;
  return (bytes) => {
    rest = Buffer.concat([rest, bytes]);
    const whole: Passing[] = [];
    if (!greeted && rest.length >= 8) {
      whole.push({ text: 'header', bytes: rest.subarray(0, 8) });
      rest = rest.subarray(8);
      greeted = true;
    }
    while (greeted && rest.length >= frameEnd && rest.length >= frameEnd + rest.readUInt32BE(3)) {
      const size = rest.readUInt32BE(3);
      const frame = rest.subarray(0, frameEnd + size);
      rest = rest.subarray(frame.length);
      const [type, channel, payload] = [frame[0], frame.readUInt16BE(1), frame.subarray(7, 7 + size)];
      if (open) {
        open.passing.bytes = Buffer.concat([open.passing.bytes, frame]);
        if (channel === open.channel && type === 2) open.left = Number(payload.readBigUInt64BE(4));
        if (channel === open.channel && type === 3) open.left! -= size;
        if (open.left !== 0) continue;
        whole.push(open.passing);
        open = null;
        continue;
      }
      const text = type === 1 ? methodOf(payload) : 'other';
      const passing = { text, bytes: frame };
      if (text.startsWith('publish') || text === 'deliver') open = { passing, channel, left: null };
      else whole.push(passing);
    }
    return whole;
  };
};

function methodOf(payload: Buffer): string {
  const name = methodNames[`${payload.readUInt16BE(0)}.${payload.readUInt16BE(2)}`] ?? 'other';
  if (name !== 'publish') return name;
  const exchangeEnd = 7 + payload[6]!;
  const exchange = payload.toString('utf8', 7, exchangeEnd);
  const key = payload.toString('utf8', exchangeEnd + 1, exchangeEnd + 1 + payload[exchangeEnd]!);
  return `publish ${exchange}/${key}`;
}
