import type { RoleDefinition } from './role-definition.js';

/**
 * A role as `GET aws/roles/<name>` shows it (contract.md 2.4). A role written through a 0.6 field also shows that field,
 * which is all that clients of that age read.
 */
export function roleToWire(role: RoleDefinition): Record<string, unknown> {
  return {
    credential_type: role.credentialTypes.join(','),
    default_sts_ttl: role.defaultStsTtlSeconds,
    external_id: role.externalId,
    iam_groups: role.iamGroups,
    iam_tags: role.iamTags,
    max_sts_ttl: role.maxStsTtlSeconds,
    mfa_serial_number: role.mfaSerialNumber ?? '',
    permissions_boundary_arn: role.permissionsBoundaryArn,
    policy_arns: role.policyArns,
    policy_document: role.policyDocument,
    role_arns: role.roleArns,
    session_tags: role.sessionTags,
    user_path: role.userPath,
    // Ours: clients that compare what they wrote with what they read see them only where somebody has set them.
    ...(role.maxLeases ? { max_leases: role.maxLeases } : {}),
    ...(role.poolSize ? { pool_size: role.poolSize } : {}),
    ...(role.defaultUserTtlSeconds ? { default_user_ttl: role.defaultUserTtlSeconds } : {}),
    ...(role.maxUserTtlSeconds ? { max_user_ttl: role.maxUserTtlSeconds } : {}),
    ...(role.ready ? { ready: true } : {}),
    ...(role.accountId ? { account_id: role.accountId } : {}),
    ...legacyKey(role),
  };
}

function legacyKey(role: RoleDefinition): Record<string, unknown> {
  if (role.legacy === 'policy') return { policy: role.policyDocument };
  if (role.legacy === 'arn') return { arn: (role.policyArns ?? role.roleArns)?.[0] };
  return {};
}
