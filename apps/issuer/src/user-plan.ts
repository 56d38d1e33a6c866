import type { IamUserPlan } from '#libs/aws';
import type { MadeOfUser } from '#libs/leases';
import { compileTemplate, type OpenedRootConfig, type Role } from '#libs/roles';

/** The user that a role makes, under a new name in which `displayName` stands for whom it is made. */
export function planOf({ role, root }: { role: Role; root: OpenedRootConfig }, displayName: string): IamUserPlan {
  const { definition } = role;
  const userName = compileTemplate(root.settings.usernameTemplate).render({
    type: 'IAM',
    displayName,
    policyName: role.name,
    now: new Date(),
  });
  return {
    userName,
    path: definition.userPath || '/',
    permissionsBoundaryArn: definition.permissionsBoundaryArn || undefined,
    inlinePolicy: definition.policyDocument ? { name: role.name, document: definition.policyDocument } : undefined,
    policyArns: definition.policyArns ?? [],
    groups: definition.iamGroups ?? [],
    tags: definition.iamTags ?? {},
  };
}

/** What destroying it needs to know. */
export function madeOf({ inlinePolicy, policyArns, groups }: IamUserPlan): MadeOfUser {
  return { policyNames: inlinePolicy ? [inlinePolicy.name] : [], policyArns, groups };
}
