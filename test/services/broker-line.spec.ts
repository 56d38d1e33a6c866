import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { randomBytes } from 'node:crypto';
import type { Fleet, Kind } from '../../apps/cluster/src/fleet.js';
import { type AmqpMethod, CuttingBrokerLine } from '../support/cutting-broker-line.js';
import { newFleet, testServers } from '../support/services.js';
import { eventually, freshDatabase, quickTiming } from '../support/world.js';

/** What a service says to the broker before it can work. */
const steps: Record<string, AmqpMethod> = {
  'connection.open': [10, 40],
  'channel.open': [20, 10],
  'confirm.select': [85, 10],
  'queue.declare': [50, 10],
  'basic.qos': [60, 10],
  'basic.consume': [60, 20],
};

const sentBy: [Kind, string[]][] = [
  ['gateway', ['connection.open', 'channel.open', 'confirm.select', 'basic.consume']],
  ['issuer', ['connection.open', 'channel.open', 'confirm.select', 'queue.declare', 'basic.qos', 'basic.consume']],
  // Its channel is opened when there is something to tell.
  ['revoker', ['connection.open']],
];

describe('a broker that is lost while a service makes its connection', () => {
  let database: Awaited<ReturnType<typeof freshDatabase>>;
  let line: CuttingBrokerLine;
  let fleet: Fleet;

  beforeAll(async () => {
    database = await freshDatabase();
    line = await CuttingBrokerLine.to(testServers().rabbitmqUrl);
    fleet = newFleet({
      databaseUrl: database.url,
      redisUrl: testServers().redisUrl,
      rabbitmqUrl: line.url,
      masterKey: randomBytes(32),
      timing: quickTiming,
      aws: { url: 'http://127.0.0.1:1', accessKeyId: 'none', secretAccessKey: 'none' },
    });
    await fleet.migrate();
  });
  afterAll(async () => {
    await fleet.close();
    line.close();
    await database.drop();
  });

  it.each(sentBy)(
    'leaves it running, and it comes back by itself, whatever it was about to say: %s',
    async (kind, said) => {
      const service = await fleet.start(kind).serves();
      await eventually(() => service.isReady());
      for (const step of said) {
        const cuts = line.cuts.length;
        line.breakAt(steps[step]!);
        await eventually(() => line.cuts.length > cuts);
        await eventually(async () => !service.running || (await service.isReady()), 15_000);
        expect([step, service.running]).toEqual([step, true]);
      }
      await service.end();
    },
    60_000,
  );
});
