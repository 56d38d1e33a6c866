import { setTimeout as sleep } from 'node:timers/promises';
import { Inject, Injectable, Logger, type OnApplicationBootstrap, type OnModuleDestroy } from '@nestjs/common';
import type { EventSink, OutboxEvent } from '#libs/runtime';
import { EntityManager } from 'typeorm';

/** Injection token of where events go. */
export const EVENT_SINK = Symbol('event sink');

/** Events that go together, and that are told again when their confirmation is lost. */
const batch = 200;
/** Waits between looks at the outbox, milliseconds. */
const pauseMs = 500;
const pauseAfterFailureMs = 1_000;

/**
 * Takes events from the outbox to where they are told, at least once. A row is gone when its event was confirmed, in one
 * transaction; what one revoker has before it, the others skip.
 */
@Injectable()
export class EventRelay implements OnApplicationBootstrap, OnModuleDestroy {
  private readonly logger = new Logger(EventRelay.name);
  private readonly stopping = new AbortController();
  private running: Promise<void> = Promise.resolve();
  private failing = false;

  constructor(
    private readonly manager: EntityManager,
    @Inject(EVENT_SINK) private readonly sink: EventSink,
  ) {}

  onApplicationBootstrap(): void {
    this.running = this.run();
  }

  /** Before anything is closed that the last batch needs. */
  async onModuleDestroy(): Promise<void> {
    this.stopping.abort();
    await this.running;
  }

  /** What waits: how many events, and for how long the oldest of them. */
  async waiting(): Promise<{ events: number; lagSeconds: number }> {
    const [row] = (await this.manager.query(
      `select count(*)::int as events, coalesce(extract(epoch from now() - min(created_at)), 0)::float8 as "lagSeconds"
       from outbox`,
    )) as { events: number; lagSeconds: number }[];
    return row!;
  }

  private async run(): Promise<void> {
    const { signal } = this.stopping;
    while (!signal.aborted) {
      const pause = await this.tellSome();
      if (pause > 0) await sleep(pause, undefined, { signal }).catch(() => undefined);
    }
  }

  /** Tells one batch; returns how long to wait before the next. An outage is one line of the log, however long it is. */
  private async tellSome(): Promise<number> {
    try {
      await this.sink.reached();
      const told = await this.relay();
      if (this.failing) this.logger.log({ msg: 'events are told again' });
      this.failing = false;
      return told === batch ? 0 : pauseMs;
    } catch (error) {
      if (!this.failing)
        this.logger.warn({ msg: 'events cannot be told; they wait in the outbox', error: String(error) });
      this.failing = true;
      return pauseAfterFailureMs;
    }
  }

  private relay(): Promise<number> {
    return this.manager.transaction(async (manager) => {
      const events = (await manager.query(
        `with told as (
           delete from outbox where id = any(array(
             select id from outbox order by created_at limit ${batch} for update skip locked
           )) returning id, name, body
         ) select id, name, body from told`,
      )) as OutboxEvent[];
      if (events.length > 0) await this.sink.publish(events);
      return events.length;
    });
  }
}
