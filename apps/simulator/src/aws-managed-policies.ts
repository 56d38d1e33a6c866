import type { Policy } from './policy-document.js';

const allow = (...patterns: string[]): Policy => ({
  statements: [
    {
      allow: true,
      actions: { patterns, except: false },
      resources: { patterns: ['*'], except: false },
      conditions: [],
    },
  ],
});
const readOnly = (service: string) => allow(`${service}:Get*`, `${service}:List*`, `${service}:Describe*`);

/**
 * What a policy of AWS's own allows here, by its name: AdministratorAccess everything, ReadOnlyAccess and
 * ViewOnlyAccess what reads, `…ReadOnlyAccess` and `…FullAccess` with a service in the name that service's share. Any
 * other exists and allows nothing.
 */
export function awsManagedPolicy(arn: string): Policy {
  const name = arn.slice(arn.lastIndexOf('/') + 1);
  if (name === 'AdministratorAccess') return allow('*');
  if (name === 'ReadOnlyAccess' || name === 'ViewOnlyAccess') return readOnly('*');
  const [, service, right] = /^(?:Amazon|AWS)?(\w+?)(ReadOnlyAccess|FullAccess)$/.exec(name) ?? [];
  if (!service) return { statements: [] };
  return right === 'FullAccess' ? allow(`${service.toLowerCase()}:*`) : readOnly(service.toLowerCase());
}

export const isAwsManaged = (arn: string) => /^arn:aws:iam::aws:policy\/[\w+=,.@/-]+$/.test(arn);
