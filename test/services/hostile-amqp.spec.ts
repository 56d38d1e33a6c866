import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { execFile } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { readFileSync } from 'node:fs';
import {
  acceptLease,
  deleteStaticRole,
  issueLease,
  newIssuerKeys,
  openAnswer,
  parseIssuerPublicKey,
  renewLease,
  revokeLease,
  rotateRoot,
  type SealedCommand,
  sealCommand,
  tryRole,
  withdrawLease,
  writeStaticRole,
} from '#libs/contracts';
import fc from 'fast-check';
import type { Fleet } from '../../apps/cluster/src/fleet.js';
import { nastyText, type Schema, valueOf } from '../fuzz/values.js';
import { BrokerConnection } from '../support/broker-owner.js';
import { policyDocument } from '../support/lease-life.js';
import { startFleet, testServers } from '../support/services.js';
import { eventually, World } from '../support/world.js';

const runs = Number(process.env.FUZZ_RUNS ?? 1_000);
const seed = Number(process.env.FUZZ_SEED ?? Date.now() % 2 ** 31);
/** Commands under way at once, fewer than what an issuer takes. */
const together = 40;
const prefetch = 64;

const keys = newIssuerKeys();
const publicKey = parseIssuerPublicKey(keys.publicKey);
const namespace = `test-${randomUUID().slice(0, 12)}`;
const queue = `${namespace}.commands`;

interface Document {
  components: {
    messages: Record<string, { name: string; payload: { properties: { data?: { properties: { sealed: Sealed } } } } }>;
  };
}
interface Sealed {
  'x-content': Schema;
}

const document = JSON.parse(readFileSync('docs/asyncapi.json', 'utf8')) as Document;
const commands = Object.values(document.components.messages).flatMap(({ name, payload }) => {
  const content = payload.properties?.data?.properties.sealed['x-content'];
  return content ? [{ name, body: content.properties!.body! }] : [];
});

const doors = [
  issueLease,
  tryRole,
  acceptLease,
  withdrawLease,
  renewLease,
  revokeLease,
  rotateRoot,
  writeStaticRole,
  deleteStaticRole,
];

/** Whether the door that it is for takes it, from who has this token. */
function isPastTheDoor(hostile: Hostile, token: string): boolean {
  if ('bytes' in hostile) return false;
  const door = doors.find(({ pattern }) => pattern === hostile.pattern);
  return door?.request.safeParse(hostile.body).data?.token === token;
}

/** What is put into the queue: sealed as it should be, or bytes. */
type Hostile = { pattern: string; body: unknown } | { bytes: string };

describe('whatever is asked over AMQP', () => {
  let world: World;
  let fleet: Fleet;
  let broker: BrokerConnection;
  const log: string[] = [];

  beforeAll(async () => {
    world = await World.start({
      weather: {},
      run: async (system) => {
        fleet = await startFleet(system, {
          kinds: ['gateway', 'issuer', 'revoker'],
          onLine: (line) => void log.push(line),
          env: {
            LEASEHOLD_NAMESPACE: namespace,
            LEASEHOLD_ISSUER_KEY: keys.privateKey,
            LEASEHOLD_ISSUER_PUBLIC_KEY: keys.publicKey,
            LEASEHOLD_PREFETCH: String(prefetch),
          },
        });
        return { url: fleet.running('gateway')[0]!.url, close: () => fleet.close() };
      },
    });
    await world.mount();
    await world.http.must(204, 'PUT', 'aws/roles/deploy', {
      credential_type: 'iam_user',
      policy_document: policyDocument,
    });
    world.simulator.faults.set({ usersPerAccount: 1_000_000 });
    broker = await BrokerConnection.open(testServers().rabbitmqUrl);
  }, 60_000);
  afterAll(async () => {
    await broker?.close();
    await world?.close();
  });

  it('is answered, by no error without a name and with no issuer lost', async () => {
    const [issuer] = fleet.running('issuer');
    const { body } = await world.http.must(200, 'GET', 'aws/creds/deploy');
    const known = {
      mount: ['aws/', 'aws/', 'aws/', 'other/'],
      role: ['deploy', 'deploy', 'nobody'],
      door: ['creds', 'sts'],
      token: [...Array<string>(20).fill(world.options.rootToken!), 'nobody', ''],
      leaseId: [body.lease_id, 'aws/creds/deploy/nothing'],
    };
    const hostile = fc.oneof(
      {
        weight: 20,
        arbitrary: fc
          .constantFrom(...commands)
          .chain((command) =>
            valueOf(command.body, known).map((value): Hostile => ({ pattern: command.name, body: value })),
          ),
      },
      { weight: 1, arbitrary: fc.tuple(nastyText, fc.jsonValue()).map(([pattern, sent]) => ({ pattern, body: sent })) },
      { weight: 1, arbitrary: fc.oneof(nastyText, fc.json()).map((bytes) => ({ bytes })) },
    );
    const { name: replyTo, answers } = await broker.replyQueue();
    const codes: Record<string, number> = {};
    let past = 0;
    const before = await residentMb(issuer!.pid);
    const all = fc.sample(fc.noBias(hostile), { numRuns: runs, seed }) as Hostile[];
    for (let begin = 0; begin < all.length; begin += together) {
      const asked = new Map<string, { hostile: Hostile; command: SealedCommand | null }>();
      for (const each of all.slice(begin, begin + together)) {
        const id = randomUUID();
        const command = 'bytes' in each ? null : await sealCommand(publicKey, each.pattern, each.body);
        asked.set(id, { hostile: each, command });
        const content = command
          ? JSON.stringify({ pattern: 'sealed', data: { sealed: command.sealed }, id })
          : (each as { bytes: string }).bytes;
        broker.publish(queue, content, { correlationId: id, replyTo, expiration: 60_000 });
      }
      await eventually(() => Promise.resolve([...asked.keys()].every((id) => answers.has(id))), 60_000);
      for (const [id, { hostile: sent, command }] of asked) {
        const code = await codeOf(answers.get(id)![0]!, command);
        codes[code] = (codes[code] ?? 0) + 1;
        if (isPastTheDoor(sent, world.options.rootToken!)) past += 1;
        if (code === 'internal') {
          const told = log.filter((line) => line.includes('failed')).slice(-3);
          throw new Error(`seed ${seed}: ${JSON.stringify(sent)} met a fault:\n${told.join('\n')}`);
        }
        answers.delete(id);
      }
    }
    const grownMb = (await residentMb(issuer!.pid)) - before;
    process.stderr.write(
      `    ${runs} commands (seed ${seed}): ${JSON.stringify(codes)}; ${grownMb.toFixed(0)} MB more\n`,
    );
    expect(issuer!.running).toBe(true);
    expect(grownMb).toBeLessThan(300);
    expect(past / runs).toBeGreaterThan(0.6);
    await world.http.must(200, 'GET', 'aws/creds/deploy');
  }, 3_600_000);
});

async function codeOf(answer: Buffer, command: SealedCommand | null): Promise<string> {
  const { response } = JSON.parse(answer.toString()) as { response: { sealed?: string; error?: unknown } };
  if (response.sealed === undefined || !command) return 'unopened';
  try {
    await openAnswer(command, response.sealed);
    return 'ok';
  } catch (error) {
    return (error as { code?: string }).code ?? String(error);
  }
}

/** Memory of a process, MiB. */
async function residentMb(pid: number): Promise<number> {
  const kilobytes = await new Promise<string>((resolve, reject) =>
    execFile('ps', ['-o', 'rss=', '-p', String(pid)], (error, out) => (error ? reject(error) : resolve(out))),
  );
  return Number(kilobytes) / 1024;
}
