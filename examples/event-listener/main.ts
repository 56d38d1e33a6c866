import { connect } from 'amqp-connection-manager';
import type { Channel, ConsumeMessage } from 'amqplib';
import { eventExchange, leaseEvent } from '#libs/contracts';

/** Prints a line per event that Leasehold tells, until Ctrl-C. What happens while it is away waits in its queue. */

const { RABBITMQ_URL: url, LEASEHOLD_NAMESPACE: namespace = 'leasehold' } = process.env;
const pattern = process.argv[2] ?? '#';
if (!url) {
  process.stderr.write('The listener does not start: RABBITMQ_URL is missing.\n');
  process.exit(1);
}

const exchange = eventExchange(namespace);
const queue = `${namespace}.event-listener`;
/** The last events it saw: the same one may come again. A service that acts on events keeps this in its database. */
const seen = new Set<string>();

const connection = connect([url], { connectionOptions: { noDelay: true } });
const channel = connection.createChannel({
  setup: async (opened: Channel) => {
    await opened.assertExchange(exchange, 'topic', { durable: true });
    await opened.assertQueue(queue, { durable: true });
    await opened.bindQueue(queue, exchange, pattern);
    await opened.consume(queue, (message) => {
      if (!message) return;
      print(message);
      // Last: what is not acknowledged comes again.
      opened.ack(message);
    });
    process.stdout.write(`Listening for ${pattern} at ${exchange}.\n`);
  },
});
for (const signal of ['SIGINT', 'SIGTERM'] as const) {
  process.once(signal, () => void channel.close().then(() => connection.close()));
}

function print(message: ConsumeMessage): void {
  const id = String(message.properties.messageId);
  if (seen.has(id)) return;
  seen.add(id);
  if (seen.size > 10_000) seen.delete(seen.values().next().value!);
  const { success, data: event } = leaseEvent.safeParse(JSON.parse(message.content.toString()));
  // An event that is newer than this listener is none of its business.
  if (!success) return;
  const why = 'reason' in event ? ` (${event.reason})` : event.expiresAt ? ` until ${event.expiresAt}` : '';
  process.stdout.write(`${event.at} ${event.name} ${event.leaseId}${why}\n`);
}
