/** Whether this is the id of an AWS account: twelve digits. */
export function isAccountId(text: string): boolean {
  return /^\d{12}$/.test(text);
}

/** The account that an ARN is of, or null where it does not say. */
export function accountOfArn(arn: string): string | null {
  const [, , , , accountId = ''] = arn.split(':');
  return isAccountId(accountId) ? accountId : null;
}

/** The parts of an Amazon Resource Name that the role rules look at; `resource` may itself hold colons and slashes. */
export interface Arn {
  partition: string;
  service: string;
  account: string;
  resource: string;
}

/** Splits an ARN as AWS's Go SDK does, and with its words when it cannot; nothing else about it is checked. */
export function parseArn(text: string): Arn | { fault: string } {
  if (!text.startsWith('arn:')) return { fault: 'arn: invalid prefix' };
  const [, partition = '', service = '', , account = '', ...resource] = text.split(':');
  if (resource.length === 0) return { fault: 'arn: not enough sections' };
  return { partition, service, account, resource: resource.join(':') };
}

/** What is wrong with the ARN of an IAM policy or role, or null; `partition`: the mount's, where it is known. */
export function faultOfIamArn(text: string, kind: 'policy' | 'role', partition?: string): string | null {
  const arn = parseArn(text);
  if ('fault' in arn) return arn.fault;
  if (arn.service !== 'iam') return `expected a service of iam but got ${arn.service}`;
  if (!arn.resource.startsWith(`${kind}/`)) return `expected a resource type of ${kind} but got ${arn.resource}`;
  if (partition !== undefined && arn.partition !== partition) {
    return `expected the partition of the mount, ${partition}, but got ${arn.partition}`;
  }
  // AWS's own policies belong to the account "aws".
  if (!/^\d{12}$/.test(arn.account) && !(kind === 'policy' && arn.account === 'aws')) {
    return `expected an account of 12 digits but got ${arn.account}`;
  }
  return /^[a-z]+\/(?:[\x21-\x7e]+\/)?[\w+=,.@-]{1,128}$/.test(arn.resource)
    ? null
    : `expected the name of a ${kind} but got ${arn.resource}`;
}

/** Regions by how they begin, and the partition they are in; every other one is in `aws`. */
const partitions = [
  ['cn-', 'aws-cn'],
  ['us-gov-', 'aws-us-gov'],
  ['us-iso-', 'aws-iso'],
  ['us-isob-', 'aws-iso-b'],
  ['eu-isoe-', 'aws-iso-e'],
  ['us-isof-', 'aws-iso-f'],
  ['eusc-', 'aws-eusc'],
] as const;

/** The partition that a region is in; undefined for what is no name of a region. */
export function partitionOf(region: string): string | undefined {
  if (!/^[a-z]{2,4}(-[a-z]+)+-\d+$/.test(region)) return undefined;
  return partitions.find(([start]) => region.startsWith(start))?.[1] ?? 'aws';
}
