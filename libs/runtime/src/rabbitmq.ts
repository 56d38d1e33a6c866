import { randomUUID, type KeyObject } from 'node:crypto';
import type { EventEmitter } from 'node:events';
import { setTimeout as sleep } from 'node:timers/promises';
import { Logger } from '@nestjs/common';
import {
  type ClientProviderOptions,
  ClientRMQ,
  RmqRecord,
  type RmqRecordOptions,
  ServerRMQ,
} from '@nestjs/microservices';
import type { Channel, ConsumeMessage } from 'amqplib';
import {
  type Answer,
  commandQueues,
  fromWire,
  openAnswer,
  openCommand,
  queueing,
  type SealedCommand,
  sealCommand,
  toWire,
  Unavailable,
  unknownCommand,
} from '#libs/contracts';
import { catchError, concatMap, defer, lastValueFrom, type Observable, throwError } from 'rxjs';
import type { Reached } from './connections.js';

/** How a process reaches the broker; `url` is `amqp://user:password@host:port/vhost`, or `amqps://…` and `tls` with it. */
export interface Broker extends Reached {
  /** First word of every queue and exchange, so that systems can share a virtual host. */
  namespace: string;
}

/** How a connection to the broker is kept. */
export const keptConnection = ({ tls }: Broker) => ({
  heartbeatIntervalInSeconds: 5,
  reconnectTimeInSeconds: 1,
  // Without it an answer waits 40 ms for the acknowledgement of the frame before it.
  connectionOptions: { noDelay: true, timeout: 5_000, ...tls },
});

/** What keeps the connection to the broker, and makes it anew. */
interface ConnectionManager extends EventEmitter {
  reconnect(): void;
  isConnected(): boolean;
  close(): Promise<unknown>;
}

/** Pause before a connection is made anew on which a channel could not be had, milliseconds. */
const newConnectionAfterMs = 1_000;

/**
 * A channel that cannot be had, because the connection broke at that moment or the broker refuses, says so as an `error` event,
 * and nobody tries again on that connection: without a listener the event would end the process.
 */
function surviveFaults(channel: EventEmitter, connection: ConnectionManager, log: Logger): void {
  channel.on('error', (error: unknown) => {
    log.warn({ msg: 'no channel to the broker', error: String(error) });
    setTimeout(() => {
      if (connection.isConnected()) connection.reconnect();
    }, newConnectionAfterMs).unref();
  });
}

/** Longest wait for a goodbye, milliseconds. */
const goodbyeMs = 2_000;

/**
 * The library waits for the broker's answer to its goodbye, for ever when the connection breaks at that moment; then the
 * connection that would be made anew has to be told as well.
 */
async function goodbye(closing: Promise<unknown> | undefined): Promise<void> {
  const waited = new AbortController();
  try {
    await Promise.race([closing, sleep(goodbyeMs, undefined, { signal: waited.signal }).catch(() => undefined)]);
  } finally {
    waited.abort();
  }
}

/**
 * What crosses the broker on the way back. When the command could not be opened at all, an error is in the clear, for
 * whoever looks at the broker; an asker does not believe it.
 */
type Response = { sealed: string } | { error: unknown };

/**
 * Takes commands from the queue: opens the seal, calls the handler, seals what it says, answers, acknowledges. Whatever
 * is wrong with a command, it is answered with a coded error and acknowledged, since one that stays unacknowledged takes
 * a place of `prefetch` for good. Closing it takes no more and lets what was begun finish.
 */
export class CommandServer extends ServerRMQ {
  private readonly log = new Logger(CommandServer.name);
  /** The names of our subscriptions, by queue. */
  private readonly consumerTags: Map<string, string>;
  private consuming: Channel | null = null;
  private inFlight = 0;
  private drained: (() => void) | null = null;

  /** `privateKeys`: whatever is sealed to one of them is opened; `prefetch`: commands at work at once, of each queue. */
  constructor(
    broker: Broker,
    private readonly privateKeys: KeyObject[],
    private readonly prefetch: number,
  ) {
    super({ urls: [broker.url], socketOptions: keptConnection(broker) });
    const queues = Object.values(commandQueues(broker.namespace));
    this.consumerTags = new Map(queues.map((queue) => [queue, randomUUID()]));
  }

  /** Resolves while the broker is connected and commands can come. */
  readonly reached = async (): Promise<void> => {
    if (!this.consuming) throw new Error('the broker is away');
  };

  /** Commands that wait in the queues for any issuer. */
  async waiting(): Promise<number> {
    const { consuming } = this;
    if (!consuming) throw new Error('the broker is away');
    const queues = await Promise.all([...this.consumerTags.keys()].map((queue) => declared(consuming, queue)));
    return queues.reduce((sum, { messageCount }) => sum + messageCount, 0);
  }

  /** Commands at work now. */
  get underWay(): number {
    return this.inFlight;
  }

  override async start(callback?: (error?: unknown) => void): Promise<void> {
    await super.start(callback);
    const server = this.server as ConnectionManager;
    server.once('connect', () => surviveFaults(this.channel as EventEmitter, server, this.log));
  }

  /** Done again at each connection. What fails in it is told on the channel, and the connection is made anew. */
  override async setupChannel(channel: Channel, callback: Function): Promise<void> {
    channel.once('close', () => {
      if (this.consuming === channel) this.consuming = null;
    });
    await channel.prefetch(this.prefetch);
    for (const queue of this.consumerTags.keys()) await this.subscribe(channel, queue);
    this.consuming = channel;
    callback();
  }

  private async subscribe(channel: Channel, queue: string): Promise<void> {
    await declared(channel, queue);
    const take = (message: ConsumeMessage | null) =>
      void (message ? this.handleMessage(message, channel) : this.subscribeAgain(channel, queue));
    await channel.consume(queue, take, { consumerTag: this.consumerTags.get(queue)! });
  }

  override async close(): Promise<void> {
    for (const consumerTag of this.consumerTags.values())
      await this.consuming?.cancel(consumerTag).catch(() => undefined); // a channel that is gone consumes nothing
    if (this.inFlight > 0) {
      await new Promise<void>((resolve) => {
        this.drained = resolve;
      });
    }
    const connection = this.server as ConnectionManager | null;
    await goodbye(super.close());
    await goodbye(connection?.close());
  }

  override async handleMessage(delivery: object, channel: Channel): Promise<void> {
    const message = delivery as ConsumeMessage;
    this.inFlight += 1;
    const { replyTo, correlationId } = message.properties as { replyTo?: string; correlationId?: string };
    try {
      const response = await this.respond(message);
      if (replyTo) {
        const packet = { id: correlationId, response, isDisposed: true };
        channel.sendToQueue(replyTo, Buffer.from(JSON.stringify(packet)), { correlationId });
      }
    } catch (error) {
      // The channel is gone, or what names the answer cannot be written again: the asker has no way to hear of it.
      this.log.warn({ msg: 'answer not sent', error: String(error) });
    }
    try {
      channel.ack(message);
    } catch (error) {
      // The channel is gone; the broker delivers again what is unacknowledged.
      this.log.warn({ msg: 'command not acknowledged', error: String(error) });
    } finally {
      this.inFlight -= 1;
      if (this.inFlight === 0) this.drained?.();
    }
  }

  /** The broker ended the subscription, as it does when the queue is deleted: made anew, commands come again. */
  private async subscribeAgain(channel: Channel, queue: string): Promise<void> {
    this.consuming = null;
    try {
      await this.subscribe(channel, queue);
      this.consuming = channel;
    } catch (error) {
      this.log.warn({ msg: 'commands cannot be subscribed to', error: String(error) });
      (this.server as ConnectionManager).reconnect();
    }
  }

  private async respond(message: ConsumeMessage): Promise<Response> {
    let command;
    try {
      command = await openCommand(this.privateKeys, sealedIn(message));
    } catch (error) {
      // There is no key to seal this under, and nothing in it that the broker's owner does not know.
      return { error: toWire(error) };
    }
    return { sealed: await command.seal(await this.answer(command.pattern, command.body, message)) };
  }

  private async answer(pattern: string, body: unknown, message: ConsumeMessage): Promise<Answer> {
    const handler = this.getHandlerByPattern(pattern);
    if (!handler) return { error: toWire(unknownCommand(pattern)) };
    try {
      const told = this.transformToObservable(await handler(body, message)) as Observable<unknown>;
      return { reply: await lastValueFrom(told, { defaultValue: undefined }) };
    } catch (error) {
      return { error: toWire(fromWire(error) ?? error) };
    }
  }
}

/** A queue as every issuer declares it: one declared in two ways is refused by the broker, and the refusal ends the connection. */
function declared(channel: Channel, queue: string) {
  return channel.assertQueue(queue, { durable: true });
}

function sealedIn(message: ConsumeMessage): unknown {
  try {
    const packet = JSON.parse(message.content.toString()) as { data?: { sealed?: unknown } } | null;
    return packet?.data?.sealed;
  } catch {
    return undefined; // no JSON, so nothing sealed
  }
}

/**
 * Sends commands, sealed, each with an end after which the broker drops it. A lost connection fails at once what was under
 * way, since its answers can never arrive.
 */
export class CommandClient extends ClientRMQ {
  private readonly publicKey: KeyObject;
  private readonly queues: ReturnType<typeof commandQueues>;

  constructor({ broker, publicKey }: { broker: Broker; publicKey: KeyObject }) {
    // To the default exchange, by the queue's name: the queues are the issuers', who sends needs no right to declare them.
    const routing = { wildcards: true, exchange: '', persistent: false };
    super({ urls: [broker.url], socketOptions: keptConnection(broker), ...routing } as never);
    this.publicKey = publicKey;
    this.queues = commandQueues(broker.namespace);
  }

  /**
   * @throws CodedError that the issuer answered with; Unavailable when no issuer listens or the way back broke; any other
   * Error when the broker was not reached, or the answer is not an issuer's.
   */
  override send<Reply>(pattern: string, command: unknown): Observable<Reply> {
    const { waitMs } = command as { waitMs: number };
    const { queue, partOfWait } = queueing(pattern);
    return defer(() => sealCommand(this.publicKey, pattern, command)).pipe(
      concatMap((sealed) =>
        super
          .send<Response>(this.queues[queue], this.message(sealed, partOfWait * waitMs))
          .pipe(concatMap((response) => opened(sealed, response) as Promise<Reply>)),
      ),
      catchError((error: unknown) => throwError(() => asError(error))),
    );
  }

  private message(command: SealedCommand, expiresMs: number): RmqRecord {
    const options = { expiration: Math.ceil(expiresMs), mandatory: true };
    return new RmqRecord({ sealed: command.sealed }, options as RmqRecordOptions);
  }

  override async close(): Promise<void> {
    const connection = this.client as ConnectionManager | null;
    await goodbye(super.close());
    await goodbye(connection?.close());
  }

  override createChannel(): Promise<void> {
    const created = super.createChannel();
    surviveFaults(this.channel as EventEmitter, this.client as ConnectionManager, this.logger);
    return created;
  }

  override async setupChannel(channel: Channel, resolve: Function): Promise<void> {
    channel.on('return', (message: ConsumeMessage) => {
      this.fail(message.properties.correlationId as string, 'No issuer has ever listened here.');
    });
    await this.consumeChannel(channel);
    resolve();
  }

  override registerDisconnectListener(client: never): void {
    super.registerDisconnectListener(client);
    (client as { addListener(event: string, listener: () => void): void }).addListener('disconnect', () => {
      for (const id of this.routingMap.keys()) this.fail(id, 'The connection to the broker was lost.');
    });
  }

  private fail(id: string, text: string): void {
    const answer = this.routingMap.get(id);
    answer?.({ err: new Unavailable(text), isDisposed: true });
  }
}

async function opened(command: SealedCommand, response: Response | null): Promise<unknown> {
  if (response && 'sealed' in response) return openAnswer(command, response.sealed);
  throw new Error("The answer is not sealed: it is no issuer's, or LEASEHOLD_ISSUER_PUBLIC_KEY is not the issuers'.");
}

/** What the transport rejects with may be a text, an object around an error, or what somebody else wrote into an answer. */
function asError(error: unknown): Error {
  if (error instanceof Error) return error;
  const { err } = (error ?? {}) as { err?: unknown };
  const text = err instanceof Error ? err.message : typeof error === 'string' ? error : 'transport error';
  return new Error(text, { cause: error });
}

/** The client under the injection token `name`, for `ClientsModule.register`. */
export function commandClient(name: symbol, broker: Broker, publicKey: KeyObject): ClientProviderOptions {
  return { name, customClass: CommandClient, options: { broker, publicKey } } as ClientProviderOptions;
}
