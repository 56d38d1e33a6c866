import { randomUUID } from 'node:crypto';
import { connect as openSocket, createServer, type AddressInfo, type Socket } from 'node:net';
import { type Channel, type ChannelModel, connect, type ConsumeMessage, type Options } from 'amqplib';

/** A connection of its own to the broker. */
export class BrokerConnection {
  protected constructor(
    protected readonly connection: ChannelModel,
    protected readonly channel: Channel,
  ) {}

  static async open(url: string): Promise<BrokerConnection> {
    const connection = await connect(url);
    return new BrokerConnection(connection, await connection.createChannel());
  }

  /** How many commands wait in a queue. */
  async waiting(queue: string): Promise<number> {
    return (await this.channel.checkQueue(queue)).messageCount;
  }

  /** Puts the same bytes into a queue and reads what comes back, by correlation id; `answers` grows as they come. */
  async replyQueue(): Promise<{ name: string; answers: Map<string, Buffer[]> }> {
    const { queue: name } = await this.channel.assertQueue('', { exclusive: true });
    const answers = new Map<string, Buffer[]>();
    await this.channel.consume(
      name,
      (message) => {
        const id = String(message!.properties.correlationId);
        answers.set(id, [...(answers.get(id) ?? []), message!.content]);
      },
      { noAck: true },
    );
    return { name, answers };
  }

  publish(queue: string, content: string | Buffer, options: Options.Publish = {}): void {
    this.channel.sendToQueue(queue, Buffer.from(content as string), options);
  }

  async declare(queue: string): Promise<void> {
    await this.channel.assertQueue(queue, { durable: true });
  }

  async delete(queue: string): Promise<void> {
    await this.channel.deleteQueue(queue);
  }

  async close(): Promise<void> {
    await this.connection.close();
  }
}

/** A command that the broker's owner holds in hand. */
export interface CommandInHand {
  content: Buffer;
  /** Lets the issuers have it, also more than once, and brings what they answer. */
  pass(): Promise<Buffer>;
  /** Sends the asker an answer, whoever made it, under the name that it waits for or another one. */
  answer(content: Buffer | object, correlationId?: string): void;
}

/** Whoever owns the broker: sees every byte, holds back, repeats, makes things up. Askers of `from` reach `to` through it. */
export class BrokerOwner extends BrokerConnection {
  /** Every byte that crossed, in both directions. */
  readonly seen: Buffer[] = [];
  /** How many commands came since `meddle` was called last. */
  count = 0;
  private meddling: (command: CommandInHand, nth: number) => Promise<void> | void = () => undefined;
  private readonly waitingFor = new Map<string, (answer: Buffer) => void>();
  private back = '';

  static async between(url: string, from: string, to: string): Promise<BrokerOwner> {
    const connection = await connect(url);
    const owner = new BrokerOwner(connection, await connection.createChannel());
    owner.back = (await owner.channel.assertQueue('', { exclusive: true })).queue;
    const noAck = true;
    await owner.channel.consume(
      owner.back,
      (message) => owner.waitingFor.get(String(message!.properties.correlationId))?.(message!.content),
      { noAck },
    );
    for (const queue of ['commands', 'commands.held']) {
      await owner.channel.assertQueue(`${from}.${queue}`, { exclusive: true, durable: true });
      await owner.channel.consume(`${from}.${queue}`, (message) => owner.take(message!, `${to}.${queue}`), { noAck });
    }
    owner.meddle();
    return owner;
  }

  /** What is done with the commands from now on; the first one is number 1. By default they and their answers pass. */
  meddle(how: (command: CommandInHand, nth: number) => Promise<void> | void = passOn): void {
    this.count = 0;
    this.meddling = how;
  }

  private take(message: ConsumeMessage, to: string): void {
    const { replyTo, correlationId, expiration } = message.properties as Options.Publish;
    this.seen.push(message.content, Buffer.from(JSON.stringify(message.properties)));
    this.count += 1;
    const command: CommandInHand = {
      content: message.content,
      pass: () => {
        const id = randomUUID();
        this.channel.sendToQueue(to, message.content, { correlationId: id, replyTo: this.back, expiration });
        return new Promise<Buffer>((resolve) => {
          this.waitingFor.set(id, (answer) => {
            this.seen.push(answer);
            resolve(answer);
          });
        });
      },
      answer: (content, name = correlationId) => {
        const bytes = Buffer.isBuffer(content) ? content : Buffer.from(JSON.stringify(content));
        this.channel.sendToQueue(replyTo!, bytes, { correlationId: name });
      },
    };
    void this.meddling(command, this.count);
  }
}

export async function passOn(command: CommandInHand): Promise<void> {
  command.answer(await command.pass());
}

/** A line to the broker that can be cut. */
export interface BrokerLine {
  /** The same broker, through the line. */
  url: string;
  /** Breaks what is connected; the next connection holds. */
  cut(): void;
  /** Replaces each byte `from` by `to`, of the same length, on the way to the broker. */
  corrupt(from: number, to: number): void;
  close(): Promise<void>;
}

export async function brokerLine(brokerUrl: string): Promise<BrokerLine> {
  const target = new URL(brokerUrl);
  const sockets = new Set<Socket>();
  let corrupted: [number, number] | null = null;
  const server = createServer((client) => {
    const upstream = openSocket(Number(target.port || 5672), target.hostname);
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
      const [from, to] = corrupted ?? [];
      upstream.write(corrupted ? Buffer.from(chunk.map((byte) => (byte === from ? to! : byte))) : chunk);
    });
    upstream.on('data', (chunk) => client.write(chunk));
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const url = new URL(brokerUrl);
  url.hostname = '127.0.0.1';
  url.port = String((server.address() as AddressInfo).port);
  const cut = () => {
    for (const socket of sockets) socket.destroy();
  };
  return {
    url: url.href,
    cut,
    corrupt: (from, to) => {
      corrupted = [from, to];
    },
    close: async () => {
      const closed = new Promise((resolve) => server.close(resolve));
      cut();
      await closed;
    },
  };
}
