import { setTimeout as sleep } from 'node:timers/promises';
import { GetCallerIdentityCommand, STSClient } from '@aws-sdk/client-sts';
import type { Answer, ApiClient } from './api-client.js';
import type { SimulatedAccount } from './simulated-aws.js';

/** What the tour needs to know of the system that it shows. */
export interface TourOptions {
  api: ApiClient;
  account: Pick<SimulatedAccount, 'rootKey' | 'iamRoleArn' | 'surroundings'>;
  say: (line: string) => void;
  /** Aborted when the system is told to stop. */
  stopping: AbortSignal;
}

/** A step was answered otherwise than the tour needs it; the message is the middle of a sentence. */
class StepFailed extends Error {}

const policy = JSON.stringify({
  Version: '2012-10-17',
  Statement: { Effect: 'Allow', Action: 'iam:*', Resource: '*' },
});

/**
 * The seed document's quick start, done over HTTP against the running system, with every step and answer shown. It is for
 * a system without engines: what somebody has mounted and configured is left alone. Whatever goes wrong ends the tour
 * with a sentence, and the system goes on.
 */
export async function tour(options: TourOptions): Promise<void> {
  const { api, say, stopping } = options;
  try {
    const engines = await api.engines();
    if (engines.length === 0) return await showEverything(options);
    say(`
The tour is skipped: it is for a system without engines, and here is ${engines.join(' and ')} already.
To see it: DATABASE_URL= LEASEHOLD_DATA_DIR=$(mktemp -d) npm start`);
  } catch (error) {
    if (!stopping.aborted) say(`\nThe tour ends here: ${(error as Error).message}. The system goes on serving.`);
  }
}

async function showEverything({ api, account, say, stopping }: TourOptions): Promise<void> {
  const mount = 'aws';
  const show = async (title: string, method: string, path: string, body?: object): Promise<Answer> => {
    say(`\n# ${title}\n$ ${method} /v1/${path}${body ? ` ${JSON.stringify(shortened(body))}` : ''}`);
    const answer = await api.ask(method, path, body);
    say(`${answer.status}${answer.hasBody ? ` ${JSON.stringify(shortened(essence(answer.body)))}` : ''}`);
    if (answer.status >= 400) throw new StepFailed(`${method} /v1/${path} was answered ${answer.status}`);
    return answer;
  };
  /** A step that lends; what was lent is asked about. */
  const lend = async (title: string, method: string, path: string, body?: object): Promise<Lent> => {
    const { lease_id: leaseId, data: keys } = (await show(title, method, path, body)).body;
    if (!leaseId || !keys) throw new StepFailed(`${method} /v1/${path} lent nothing`);
    return { leaseId, keys };
  };
  const whoIs = async (keys: Record<string, string>): Promise<string> => {
    const client = new STSClient({
      endpoint: account.surroundings.defaultEndpoint,
      region: 'us-east-1',
      credentials: {
        accessKeyId: keys.access_key!,
        secretAccessKey: keys.secret_key!,
        sessionToken: keys.security_token ?? undefined,
      },
      maxAttempts: 1,
    });
    return client.send(new GetCallerIdentityCommand({})).then(
      (identity) => identity.Arn!,
      (error: Error) => `refused: ${error.name}: ${error.message}`,
    );
  };
  const showWho = async (title: string, keys: Record<string, string>) => {
    say(`\n# ${title}\n$ sts GetCallerIdentity (${keys.access_key})`);
    say(await whoIs(keys));
  };

  await show('What is mounted? The engine is not, by default', 'GET', 'sys/mounts');
  await show('Mount the engine', 'POST', `sys/mounts/${mount}`, { type: 'aws' });
  await show('Give it the credentials that manage IAM', 'PUT', `${mount}/config/root`, {
    access_key: account.rootKey.accessKeyId,
    secret_key: account.rootKey.secretAccessKey,
    region: 'us-east-1',
  });
  await show('Say how long keys are lent', 'PUT', `${mount}/config/lease`, { lease: '1h', lease_max: '24h' });
  await show('A role with an inline policy', 'PUT', `${mount}/roles/deploy`, { policy });
  await show('A role with a managed policy', 'PUT', `${mount}/roles/readonly`, {
    arn: 'arn:aws:iam::aws:policy/AmazonEC2ReadOnlyAccess',
  });
  await show('A role that assumes an IAM role', 'PUT', `${mount}/roles/cross`, { arn: account.iamRoleArn });

  const lent = await lend('Credentials, made for this caller alone', 'GET', `${mount}/creds/deploy`);
  await showWho('Who is the new key, according to STS?', lent.keys);

  const federated = await lend('A federation token', 'GET', `${mount}/sts/deploy`);
  await showWho('And who is that?', federated.keys);

  const assumed = await lend('An assumed role', 'PUT', `${mount}/sts/cross`, { ttl: '15m' });
  await showWho('And that?', assumed.keys);

  await show('Renew the first lease', 'PUT', 'sys/leases/renew', { lease_id: lent.leaseId, increment: 7200 });

  await show('Now leases of two seconds', 'PUT', `${mount}/config/lease`, { lease: '2s', lease_max: '24h' });
  const short = await lend('A short lease', 'GET', `${mount}/creds/deploy`);
  // At once: whoever ends the tour here finds leases of an hour at the next start.
  await show('Back to leases of an hour', 'PUT', `${mount}/config/lease`, { lease: '1h', lease_max: '24h' });
  await showWho('The key of the short one works', short.keys);
  say('\n# Wait until it has run out');
  await untilRefused(() => whoIs(short.keys), stopping);
  await showWho('Its key is refused: the user is gone from AWS', short.keys);

  await show('Revoke the first lease', 'PUT', `sys/revoke/${lent.leaseId}`);
  await showWho('Its key is refused too', lent.keys);
}

interface Lent {
  leaseId: string;
  keys: Record<string, string>;
}

async function untilRefused(whoIs: () => Promise<string>, stopping: AbortSignal): Promise<void> {
  for (let tries = 0; tries < 100; tries += 1) {
    if ((await whoIs()).startsWith('refused')) return;
    await sleep(200, undefined, { signal: stopping });
  }
}

/** Of an answer, what is worth reading. */
function essence(body: Answer['body']): object {
  if (body.errors) return { errors: body.errors };
  const { lease_id, lease_duration, data } = body;
  if (data && 'sys/' in data) return { data: Object.keys(data) };
  return { ...(lease_id ? { lease_id, lease_duration } : {}), ...(data ? { data } : {}) };
}

/** Secrets and tokens with their middle left out: this goes to a terminal. */
function shortened(value: object): object {
  return Object.fromEntries(
    Object.entries(value).map(([key, part]) => {
      if (part && typeof part === 'object' && !Array.isArray(part)) return [key, shortened(part as object)];
      const isSecret = /secret|_token$/.test(key) && typeof part === 'string';
      return [key, isSecret ? `${part.slice(0, 4)}… (${part.length} characters)` : part];
    }),
  );
}
