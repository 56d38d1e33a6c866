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

/** "STS Federation Tokens": the right to federate and, beside it, what may be delegated (the document's example: `ec2:*`). */
export function seedFederationPolicy(delegated: string[] = ['ec2:*']): string {
  return document({ Effect: 'Allow', Action: [...delegated, 'sts:GetFederationToken'], Resource: '*' });
}

/** "STS AssumeRole": the right to assume one role. */
export function seedAssumeRolePolicy(iamRoleArn: string): string {
  return document({ Effect: 'Allow', Action: 'sts:AssumeRole', Resource: iamRoleArn });
}

/** "STS AssumeRole": the trust policy of the role that the root identity assumes. */
export function seedTrustPolicy(principalArn: string): string {
  return document([{ Effect: 'Allow', Principal: { AWS: principalArn }, Action: 'sts:AssumeRole' }]);
}
