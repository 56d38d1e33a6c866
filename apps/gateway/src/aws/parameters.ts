import type { Caller } from '#libs/access';
import { InvalidRequest, type IssueLeaseRequest } from '#libs/contracts';

/** What an issuer's policies look at, in bytes: brokers refuse messages without bounds. */
const longestParameters = 64 * 1024;

/**
 * What the caller sent, for the issuer's policies to look at; undefined where those have nothing to say.
 * @throws InvalidRequest
 */
export function parametersFor({ acl }: Caller, sent: Record<string, unknown>): IssueLeaseRequest['parameters'] {
  if (acl.isRoot) return undefined;
  if (Buffer.byteLength(JSON.stringify(sent)) > longestParameters) {
    throw new InvalidRequest(`a request for credentials may bring ${longestParameters} bytes of parameters at most`);
  }
  return sent as IssueLeaseRequest['parameters'];
}
