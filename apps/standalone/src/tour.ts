import { setTimeout as sleep } from 'node:timers/promises';
import { GetCallerIdentityCommand, STSClient } from '@aws-sdk/client-sts';
import type { SimulatedAccount } from './simulated-aws.js';

/** What the tour needs to know of the system that it shows. */
export interface TourOptions {
  url: string;
  rootToken: string;
  account: SimulatedAccount;
  say: (line: string) => void;
}

interface Answer {
  status: number;
  body: {
    lease_id?: string;
    lease_duration?: number;
    data?: Record<string, string> | null;
    errors?: string[];
  };
}

const policy = JSON.stringify({
  Version: '2012-10-17',
  Statement: { Effect: 'Allow', Action: 'iam:*', Resource: '*' },
});

/** The seed document's quick start, done over HTTP against the running system, with every step and answer shown. */
export async function tour({ url, rootToken, account, say }: TourOptions): Promise<void> {
  const mount = 'aws';
  const show = async (title: string, method: string, path: string, body?: object): Promise<Answer> => {
    say(`\n# ${title}\n$ ${method} /v1/${path}${body ? ` ${JSON.stringify(shortened(body))}` : ''}`);
    const response = await fetch(`${url}/v1/${path}`, {
      method,
      headers: { 'X-Vault-Token': rootToken },
      ...(body ? { body: JSON.stringify(body) } : {}),
    });
    const text = await response.text();
    const answer: Answer = { status: response.status, body: text ? (JSON.parse(text) as Answer['body']) : {} };
    say(`${answer.status}${text ? ` ${JSON.stringify(shortened(essence(answer.body)))}` : ''}`);
    return answer;
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

  const mounts = await show('What is mounted? The engine is not, by default', 'GET', 'sys/mounts');
  if (!(`${mount}/` in (mounts.body.data ?? {}))) {
    await show('Mount the engine', 'POST', `sys/mounts/${mount}`, { type: 'aws' });
  }
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

  const lent = await show('Credentials, made for this caller alone', 'GET', `${mount}/creds/deploy`);
  await showWho('Who is the new key, according to STS?', lent.body.data!);

  const federated = await show('A federation token', 'GET', `${mount}/sts/deploy`);
  await showWho('And who is that?', federated.body.data!);

  const assumed = await show('An assumed role', 'PUT', `${mount}/sts/cross`, { ttl: '15m' });
  await showWho('And that?', assumed.body.data!);

  await show('Renew the first lease', 'PUT', 'sys/leases/renew', { lease_id: lent.body.lease_id, increment: 7200 });

  await show('Now leases of two seconds', 'PUT', `${mount}/config/lease`, { lease: '2s', lease_max: '24h' });
  const short = await show('A short lease', 'GET', `${mount}/creds/deploy`);
  await showWho('Its key works', short.body.data!);
  say('\n# Wait until it has run out');
  await untilRefused(() => whoIs(short.body.data!));
  await showWho('Its key is refused: the user is gone from AWS', short.body.data!);
  await show('Back to leases of an hour', 'PUT', `${mount}/config/lease`, { lease: '1h', lease_max: '24h' });

  await show('Revoke the first lease', 'PUT', `sys/revoke/${lent.body.lease_id}`);
  await showWho('Its key is refused too', lent.body.data!);
}

async function untilRefused(whoIs: () => Promise<string>): Promise<void> {
  for (let tries = 0; tries < 100 && !(await whoIs()).startsWith('refused'); tries += 1) await sleep(200);
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
