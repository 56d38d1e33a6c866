import { BaseRpcContext, ClientProxy, Server } from '@nestjs/microservices';
import type { CustomTransportStrategy, ReadPacket, WritePacket } from '@nestjs/microservices';

/** What would cross the wire: a receiver never shares an object with its sender. */
const copy = <T>(value: T): T => (value === undefined ? value : (JSON.parse(JSON.stringify(value)) as T));

/** The message handlers of one process, reached without a broker. Queue names are those a broker would have. */
export class MemoryBus {
  readonly servers = new Map<string, MemoryServer>();

  /** The strategy that a microservice listens with. */
  server(queue: string): MemoryServer {
    return new MemoryServer(this, queue);
  }

  /** The client for `ClientsModule.register`, under the injection token `name`. */
  client(name: symbol, queue: string) {
    return { name, customClass: MemoryClient, options: { bus: this, queue } };
  }
}

/** Nest's server side of the in-process transport. Closing it lets what was begun finish. */
export class MemoryServer extends Server implements CustomTransportStrategy {
  private inFlight = 0;
  private drained: (() => void) | null = null;

  constructor(
    private readonly bus: MemoryBus,
    private readonly queue: string,
  ) {
    super();
    this.transportId = Symbol.for('memory');
  }

  listen(ready: () => void): void {
    this.bus.servers.set(this.queue, this);
    ready();
  }

  async close(): Promise<void> {
    this.bus.servers.delete(this.queue);
    if (this.inFlight === 0) return;
    await new Promise<void>((resolve) => {
      this.drained = resolve;
    });
  }

  on(): void {}

  unwrap<T>(): T {
    return this.bus as T;
  }

  /** Runs the handler of a request and passes on what it answers. */
  async dispatch(packet: ReadPacket, respond: (answer: WritePacket) => void): Promise<void> {
    const pattern = this.getPatternAsString(packet.pattern);
    const handler = this.getHandlerByPattern(pattern);
    if (!handler) {
      respond({ err: new Error(`Nothing handles "${pattern}" on queue ${this.queue}.`), isDisposed: true });
      return;
    }
    const context = new BaseRpcContext([pattern]);
    this.inFlight += 1;
    this.handleRequest(
      context,
      async () => this.transformToObservable(await handler(packet.data, context)),
      (answer) => {
        respond(copy(answer));
        if (answer.isDisposed) this.ended();
      },
    );
  }

  private ended(): void {
    this.inFlight -= 1;
    if (this.inFlight === 0) this.drained?.();
  }
}

class MemoryClient extends ClientProxy {
  constructor(private readonly options: { bus: MemoryBus; queue: string }) {
    super();
  }

  async connect(): Promise<void> {}

  close(): void {}

  unwrap<T>(): T {
    return this.options.bus as T;
  }

  protected publish(packet: ReadPacket, callback: (answer: WritePacket) => void): () => void {
    const server = this.options.bus.servers.get(this.options.queue);
    if (server) setImmediate(() => void server.dispatch(copy(packet), callback));
    else {
      const err = new Error(`Nobody listens on queue ${this.options.queue}.`);
      queueMicrotask(() => callback({ err, isDisposed: true }));
    }
    return () => undefined;
  }

  protected async dispatchEvent<T>(): Promise<T> {
    throw new Error('The in-process transport carries requests only.');
  }
}
