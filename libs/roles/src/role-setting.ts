import type { AccountIdentity } from './account-identity.entity.js';
import { accountOfArn, parseArn, partitionOf } from './arn.js';
import type { RoleDefinition } from './role-definition.js';
import type { RootConfig } from './root-config.entity.js';
import { defaultTemplate } from './username-template.js';

/** What a role is written into, as far as it is known without asking AWS. */
export interface RoleSetting {
  roleName: string;
  /** Of config/root. */
  usernameTemplate: string;
  /** The partition that the mount works in; undefined = not known. */
  partition?: string;
  /**
   * The mount's own credentials are temporary: a role's session, for one. Such credentials get neither federation tokens nor
   * session tokens, and of other roles an hour at most (aws-facts.md, Limits).
   */
  isTemporary: boolean;
  /** The accounts in which the mount has an identity of its own, and whether that one's credentials are temporary. */
  ownAccounts: ReadonlyMap<string, boolean>;
}

/**
 * @param root the current version of the mount's config/root; null = never written
 * @param own the current versions of its own identities in other accounts
 */
export function settingOf(
  root: Pick<RootConfig, 'settings' | 'identityArn'> | null,
  roleName: string,
  own: Pick<AccountIdentity, 'accountId' | 'accessKey' | 'roleArn'>[] = [],
): RoleSetting {
  const { usernameTemplate = defaultTemplate, region = '', accessKey = '' } = root?.settings ?? {};
  const identity = parseArn(root?.identityArn ?? '');
  const isSession = !('fault' in identity) && /^(assumed-role|federated-user)\//.test(identity.resource);
  return {
    roleName,
    usernameTemplate,
    partition: 'fault' in identity ? partitionOf(region) : identity.partition,
    isTemporary: isSession || isTemporaryKey(accessKey),
    ownAccounts: new Map(own.map((each) => [each.accountId, each.roleArn !== '' || isTemporaryKey(each.accessKey)])),
  };
}

/** Whether whoever would ask AWS for this role has temporary credentials, whichever of its accounts is asked for. */
export function actsTemporarily(
  { accountId, roleArns }: Pick<RoleDefinition, 'accountId' | 'roleArns'>,
  { isTemporary, ownAccounts }: RoleSetting,
): boolean {
  // An account that has none yet: that is told to whoever asks.
  if (accountId) return ownAccounts.get(accountId) ?? false;
  const each = (roleArns ?? []).map((arn) => ownAccounts.get(accountOfArn(arn) ?? '') ?? isTemporary);
  return each.length > 0 ? each.every(Boolean) : isTemporary;
}

const isTemporaryKey = (accessKey: string) => accessKey.startsWith('ASIA');
