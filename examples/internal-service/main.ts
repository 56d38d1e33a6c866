import { setTimeout as sleep } from 'node:timers/promises';
import { GetCallerIdentityCommand, STSClient } from '@aws-sdk/client-sts';
import { Logger } from '@nestjs/common';
import { type LentCredential, LeaseholdClient } from '#libs/client';
import { brokerEnv, processEnv, readEnvironment, StartRefused } from '#libs/runtime';
import { z } from 'zod';

/** What this service is configured with. */
const serviceEnv = z.object({
  ...brokerEnv.shape,
  LEASEHOLD_NAMESPACE: processEnv.shape.LEASEHOLD_NAMESPACE,
  LEASEHOLD_ISSUER_PUBLIC_KEY: z.string(),
  LEASEHOLD_TOKEN: z.string(),
  LEASEHOLD_MOUNT: z.string().default('aws/'),
  LEASEHOLD_ROLE: z.string(),
  /** Where AWS is; the real one where this is not set. */
  LEASEHOLD_AWS_ENDPOINT: z.url().optional(),
});

/** AWS needs some seconds until a new key works everywhere. */
const youngKeyMs = 30_000;

const say = (sentence: string) => process.stdout.write(`${sentence}\n`);

/** Holds a credential of one role for as long as it runs: asks for it, uses it, renews it in time, gives it back. */
async function main(env: z.output<typeof serviceEnv>, stop: AbortSignal): Promise<void> {
  const leasehold = new LeaseholdClient({
    rabbitmqUrl: env.RABBITMQ_URL,
    namespace: env.LEASEHOLD_NAMESPACE,
    issuerPublicKey: env.LEASEHOLD_ISSUER_PUBLIC_KEY,
    token: env.LEASEHOLD_TOKEN,
  });
  try {
    const lent = await leasehold.issue({ mount: env.LEASEHOLD_MOUNT, role: env.LEASEHOLD_ROLE });
    say(`Lease ${lent.leaseId} is ours for ${lent.leaseDuration} s; its key ends in ${lastFour(lent)}.`);
    try {
      say(`AWS knows us as ${await whoWeAre(lent, env.LEASEHOLD_AWS_ENDPOINT, stop)}.`);
      await keep(leasehold, lent, stop);
    } finally {
      await leasehold.revoke(lent.leaseId);
      say(`Lease ${lent.leaseId} is given back.`);
    }
  } finally {
    await leasehold.close();
  }
}

/** Renews a lease at two thirds of its duration, again and again, until it is time to stop. */
async function keep(leasehold: LeaseholdClient, lent: LentCredential, stop: AbortSignal): Promise<void> {
  if (!lent.renewable) say('It cannot be renewed; a service that goes on would ask for the next one in time.');
  let seconds = lent.leaseDuration;
  while (!stop.aborted) {
    await sleep((seconds * 1000 * 2) / 3, undefined, { signal: stop }).catch(() => undefined); // woken: it is time to stop
    if (stop.aborted || !lent.renewable) return;
    seconds = (await leasehold.renew(lent.leaseId)).leaseDuration;
    say(`Lease ${lent.leaseId} is renewed, for ${seconds} s.`);
  }
}

async function whoWeAre({ credential }: LentCredential, endpoint: string | undefined, stop: AbortSignal) {
  const sts = new STSClient({ region: 'us-east-1', endpoint, credentials: credential });
  const givesUpAt = performance.now() + youngKeyMs;
  try {
    for (;;) {
      try {
        return (await sts.send(new GetCallerIdentityCommand({}), { abortSignal: stop })).Arn;
      } catch (error) {
        const young = (error as Error).name === 'InvalidClientTokenId';
        if (!young || stop.aborted || performance.now() > givesUpAt) throw error;
        await sleep(500);
      }
    }
  } finally {
    sts.destroy();
  }
}

function lastFour({ credential }: LentCredential): string {
  return credential.accessKeyId.slice(-4);
}

process.env.AWS_SDK_JS_NODE_VERSION_SUPPORT_WARNING_DISABLED = 'true';
Logger.overrideLogger(false); // what it has to say it says itself
const stopping = new AbortController();
for (const signal of ['SIGINT', 'SIGTERM'] as const) process.on(signal, () => stopping.abort());
try {
  await main(readEnvironment('internal service', serviceEnv, process.env), stopping.signal);
} catch (error) {
  // A StartRefused or a CodedError; both are a sentence, and neither holds a secret.
  process.stderr.write(`${error instanceof StartRefused ? error.message : `It failed: ${(error as Error).message}`}\n`);
  process.exitCode = 1;
}
