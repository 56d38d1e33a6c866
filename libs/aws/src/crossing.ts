import { NodeHttpHandler } from '@smithy/node-http-handler';

/** What one attempt has to say when its request, signed already, is about to leave. */
export interface Crossing {
  /** Aborted: its request ends, with its socket. */
  signal: AbortSignal;
  /** Sends it, unless it must not leave any more. */
  atTheWire: <R>(send: () => Promise<R>) => Promise<R>;
}

/** The commands of a client, as far as they are ours to handle. */
interface Client {
  middlewareStack: { add(middleware: unknown, options: object): void };
}

const crossing = Symbol('crossing');
const signals = new WeakMap<object, AbortSignal>();

// The lowest priority of the last step: behind signing and next to the socket.
const lastBeforeTheWire = { step: 'deserialize', priority: 'low', name: 'crossing' } as const;

/**
 * A client whose commands go through the crossing that they were given. It is part of the client and not of each command, so that
 * the SDK puts its middleware together once per kind of command (`cacheMiddleware`) and not once per call, which is a quarter of
 * a call's CPU; it then takes no options with a command either, so the signal comes the same way.
 */
export function crossed<C extends Client>(client: C): C {
  client.middlewareStack.add(
    (next: (args: object) => Promise<unknown>) => (args: { request: object; [crossing]?: Crossing[] }) => {
      const { signal, atTheWire } = args[crossing]!.pop()!;
      signals.set(args.request, signal);
      return atTheWire(() => next(args));
    },
    lastBeforeTheWire,
  );
  return client;
}

/**
 * The command of one attempt. Its crossing is taken out when it is used: the SDK keeps the first command of each kind as long as the
 * client, and what an attempt knows of its caller must not be kept with it.
 */
export function through<Command extends object>(command: Command, its: Crossing): Command {
  return Object.assign(command, { [crossing]: [its] });
}

/** Connections to AWS for clients that are `crossed`. */
export class Connections extends NodeHttpHandler {
  override handle(...[request, options]: Parameters<NodeHttpHandler['handle']>): ReturnType<NodeHttpHandler['handle']> {
    return super.handle(request, { ...options, abortSignal: signals.get(request) });
  }
}
