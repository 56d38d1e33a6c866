/**
 * The policies that the documentation of Vault's AWS secrets engine asks for. Each function returns JSON text.
 */

const document = (statement: object) => JSON.stringify({ Version: '2012-10-17', Statement: statement });

/** "Root Credentials for Dynamic IAM users": what the root identity needs, and all it gets. */
export function seedRootPolicy(accountId: string): string {
  return document([
    {
      Effect: 'Allow',
      Action: [
        'iam:AttachUserPolicy',
        'iam:CreateAccessKey',
        'iam:CreateUser',
        'iam:DeleteAccessKey',
        'iam:DeleteUser',
        'iam:DeleteUserPolicy',
        'iam:DetachUserPolicy',
        'iam:ListAccessKeys',
        'iam:ListAttachedUserPolicies',
        'iam:ListGroupsForUser',
        'iam:ListUserPolicies',
        'iam:PutUserPolicy',
        'iam:RemoveUserFromGroup',
      ],
      Resource: [`arn:aws:iam::${accountId}:user/vault-*`],
    },
  ]);
}

/** Root credentials that are rotated, and static roles: rights on the users whose keys those are. */
export function seedRotationPolicy(userArn = '*'): string {
  const Action = ['iam:GetUser', 'iam:ListAccessKeys', 'iam:CreateAccessKey', 'iam:DeleteAccessKey'];
  return document({ Effect: 'Allow', Action, Resource: userArn });
}

/** What roles may ask for beyond the documentation of old: paths, groups, tags, boundaries, session tags; and the users that there are. */
export function seedFurtherPolicy(accountId: string): string {
  const users = `arn:aws:iam::${accountId}:user/*`;
  const { Statement } = JSON.parse(seedRootPolicy(accountId)) as { Statement: { Action: string[] }[] };
  const allow = (Action: string[], Resource: string) => ({ Effect: 'Allow', Action, Resource });
  return document([
    allow(Statement[0]!.Action, `${users}/vault-*`),
    allow(['iam:TagUser', 'iam:PutUserPermissionsBoundary'], users),
    allow(
      [
        'iam:AddUserToGroup',
        'iam:RemoveUserFromGroup',
        'iam:ListAttachedGroupPolicies',
        'iam:ListGroupPolicies',
        'iam:GetGroupPolicy',
      ],
      `arn:aws:iam::${accountId}:group/*`,
    ),
    allow(['sts:TagSession', 'iam:GetAccountSummary', 'iam:GetAccessKeyLastUsed'], '*'),
  ]);
}

/** "STS Federation Tokens": the right to federate and, beside it, what may be delegated (the document's example: `ec2:*`). */
export function seedFederationPolicy(delegated: string[] = ['ec2:*']): string {
  return document({ Effect: 'Allow', Action: [...delegated, 'sts:GetFederationToken'], Resource: '*' });
}

/** "STS AssumeRole": the right to assume one role. */
export function seedAssumeRolePolicy(iamRoleArn: string): string {
  return document({ Effect: 'Allow', Action: 'sts:AssumeRole', Resource: iamRoleArn });
}

/** "STS AssumeRole": the trust policy of the role that the root identity assumes; `sts:TagSession` where sessions have tags. */
export function seedTrustPolicy(principalArn: string, Action: string | string[] = 'sts:AssumeRole'): string {
  return document([{ Effect: 'Allow', Principal: { AWS: principalArn }, Action }]);
}
