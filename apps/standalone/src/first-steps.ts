import type { ApiClient } from './api-client.js';

const role = 'deploy';

/**
 * Commands for a first look that work as they stand: what is not there yet, they make. The mount is `aws/`,
 * unless there are only others.
 * @param aws the system works on real AWS, where the simulator's own keys are of no use.
 */
export async function firstSteps(api: ApiClient, aws: boolean): Promise<string[]> {
  const engines = await api.engines();
  const mounted = engines.find((path) => path === 'aws/') ?? engines[0];
  const mount = mounted ?? 'aws/';
  const hasRole = mounted !== undefined && (await api.ask('GET', `${mounted}roles/${role}`)).status === 200;
  const definition = { credential_type: 'iam_user', policy_arns: 'arn:aws:iam::aws:policy/AmazonEC2ReadOnlyAccess' };
  return [
    curl('sys/mounts'),
    ...(mounted ? [] : [curl(`sys/mounts/${mount.slice(0, -1)}`, 'POST', quoted({ type: 'aws' }))]),
    // With both empty, the engine works with the keys of this process's surroundings.
    ...(mounted || !aws ? [] : [curl(`${mount}config/root`, 'PUT', keysOfTheShell)]),
    ...(hasRole ? [] : [curl(`${mount}roles/${role}`, 'PUT', quoted(definition))]),
    curl(`${mount}creds/${role}`),
    curl(`sys/leases/lookup/${mount}creds/${role}`, 'LIST'),
  ];
}

const keysOfTheShell = String.raw`"{\"access_key\":\"$AWS_ACCESS_KEY_ID\",\"secret_key\":\"$AWS_SECRET_ACCESS_KEY\"}"`;

const quoted = (body: object) => `'${JSON.stringify(body)}'`;

function curl(path: string, method?: string, body?: string): string {
  const options = [...(method ? [`-X ${method}`] : []), ...(body ? [`-d ${body}`] : [])];
  return ['curl -s -H "X-Vault-Token: $VAULT_TOKEN"', ...options, `$VAULT_ADDR/v1/${path}`].join(' ');
}
