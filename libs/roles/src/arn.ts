/** The parts of an Amazon Resource Name that the role rules look at; `resource` may itself hold colons and slashes. */
export interface Arn {
  service: string;
  resource: string;
}

/** Splits an ARN as AWS's Go SDK does, and with its words when it cannot; nothing else about it is checked. */
export function parseArn(text: string): Arn | { fault: string } {
  if (!text.startsWith('arn:')) return { fault: 'arn: invalid prefix' };
  const [, , service, , , ...resource] = text.split(':');
  if (service === undefined || resource.length === 0) return { fault: 'arn: not enough sections' };
  return { service, resource: resource.join(':') };
}
