import { setTimeout as sleep } from 'node:timers/promises';
import { Logger } from '@nestjs/common';
import { type AmqpConnectionManager, connect } from 'amqp-connection-manager';
import type { ConfirmChannel } from 'amqplib';
import { eventExchange } from '#libs/contracts';
import { type Broker, keptConnection } from './rabbitmq.js';

/** Longest wait for the broker to confirm, milliseconds: the events' rows are locked for so long. */
const confirmsWithinMs = 5_000;
/** Longest wait for the connection to close in order. */
const closesWithinMs = 1_000;

/** An event as the outbox has it: `body` is what goes out, and repeats the other two. */
export interface OutboxEvent {
  id: string;
  name: string;
  body: object;
}

/** Where events are told. */
export interface EventSink {
  /** Resolves while events can be told. */
  reached(): Promise<void>;
  /** Resolves when all of these have been taken over; when it rejects, some may have been. */
  publish(events: OutboxEvent[]): Promise<void>;
}

/** The topic exchange of events on the broker: persistent messages, each confirmed. It connects again by itself. */
export class EventExchange implements EventSink {
  private readonly exchange: string;
  private readonly connection: AmqpConnectionManager;
  private readonly firstTry: Promise<unknown>;
  private channel: ConfirmChannel | null = null;
  private overdue = false;

  constructor(broker: Broker) {
    this.exchange = eventExchange(broker.namespace);
    this.connection = connect([broker.url], keptConnection(broker));
    this.firstTry = new Promise((tried) => {
      this.connection.once('connect', tried);
      this.connection.once('connectFailed', tried);
    });
  }

  async reached(): Promise<void> {
    await this.firstTry;
    if (!this.connection.isConnected()) throw new Error('the broker is away');
    if (this.overdue) throw new Error('the broker does not confirm');
  }

  async publish(events: OutboxEvent[]): Promise<void> {
    await this.reached();
    const sent = this.send(events);
    const waiting = new AbortController();
    const late = sleep(confirmsWithinMs, true, { signal: waiting.signal }).catch(() => false);
    try {
      if ((await Promise.race([sent, late])) !== true) return;
    } finally {
      waiting.abort();
    }
    // A broker that is short of memory or frozen reads nothing: before more is sent to it, this must come to an end.
    this.overdue = true;
    void sent
      .catch(() => undefined)
      .finally(() => {
        this.overdue = false;
      });
    throw new Error('the broker does not confirm');
  }

  private async send(events: OutboxEvent[]): Promise<void> {
    const channel = this.channel ?? (await this.openChannel());
    for (const { id, name, body } of events) {
      channel.publish(this.exchange, name, Buffer.from(JSON.stringify(body)), {
        messageId: id,
        type: name,
        contentType: 'application/json',
        persistent: true,
      });
    }
    await channel.waitForConfirms();
  }

  private async openChannel(): Promise<ConfirmChannel> {
    const channel = await this.connection.connection!.createConfirmChannel();
    // Whoever waits for an answer on it is told what was wrong.
    channel.on('error', () => undefined);
    channel.on('close', () => {
      this.channel = null;
    });
    this.channel = channel;
    await channel.assertExchange(this.exchange, 'topic', { durable: true });
    return channel;
  }

  async close(): Promise<void> {
    const waiting = new AbortController();
    const late = sleep(closesWithinMs, undefined, { signal: waiting.signal }).catch(() => undefined);
    await Promise.race([this.connection.close(), late]);
    waiting.abort();
  }
}

/** Where there is no broker: events are told to the log and let go. */
export class EventLog implements EventSink {
  private readonly log = new Logger(EventLog.name);

  async reached(): Promise<void> {}

  async publish(events: OutboxEvent[]): Promise<void> {
    for (const { name, body } of events) this.log.log({ msg: name, ...body });
  }
}
