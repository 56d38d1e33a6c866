import { encodedDocument, onUser, page, type Actions, type Call } from '../action.js';
import { noSuchEntity } from '../aws-error.js';
import type { Tag, User } from '../entities.js';
import { rules } from '../parameters.js';
import type { XmlElements } from '../xml.js';

const tagXml = ({ key, value }: Tag) => ({ Key: key, Value: value });

function userXml({ account }: Call, user: User, whole: boolean): XmlElements {
  return {
    Path: user.path,
    UserName: user.name,
    UserId: user.id,
    Arn: account.arn('user', user.path, user.name),
    CreateDate: new Date(user.createdAt),
    PermissionsBoundary:
      whole && user.boundary !== undefined
        ? { PermissionsBoundaryType: 'Policy', PermissionsBoundaryArn: user.boundary }
        : undefined,
    Tags: whole && user.tags.length > 0 ? user.tags.map(tagXml) : undefined,
  };
}

const requestTags = (call: Call) =>
  Object.fromEntries(call.parameters.tags().map(({ key, value }) => [`aws:requesttag/${key.toLowerCase()}`, value]));

/** Users, their tags and boundaries, and how many there are. */
export const userActions: Actions = {
  CreateUser: {
    resource: ({ account, parameters }) =>
      account.arn(
        'user',
        parameters.optional('Path', rules.path) ?? '/',
        parameters.required('UserName', rules.userName),
      ),
    context: (call) => ({
      'iam:permissionsboundary': call.parameters.raw('PermissionsBoundary'),
      ...requestTags(call),
    }),
    alsoNeeds: ({ parameters }) => [
      ...(parameters.tags().length > 0 ? ['iam:TagUser'] : []),
      ...(parameters.raw('PermissionsBoundary') === undefined ? [] : ['iam:PutUserPermissionsBoundary']),
    ],
    run: (call) => {
      const path = call.parameters.optional('Path', rules.path);
      const boundary = call.parameters.optional('PermissionsBoundary', rules.arn);
      const user = call.account.createUser(call.parameters.required('UserName', rules.userName), {
        ...(path === undefined ? {} : { path }),
        ...(boundary === undefined ? {} : { boundary }),
        tags: call.parameters.tags(),
        settled: false,
      });
      return { User: userXml(call, user, true) };
    },
  },

  GetUser: onUser((call) => ({ User: userXml(call, call.user(), true) })),

  UpdateUser: onUser((call) => {
    const name = call.parameters.optional('NewUserName', rules.userName);
    const path = call.parameters.optional('NewPath', rules.path);
    call.account.renameUser(call.user(), { name, path });
    return {};
  }),

  DeleteUser: onUser((call) => {
    call.account.deleteUser(call.user());
    return {};
  }),

  ListUsers: {
    resource: ({ account }) => account.arn('user', '/', ''),
    run: (call) => {
      const prefix = call.parameters.optional('PathPrefix', rules.pathPrefix) ?? '/';
      const listed = call.account
        .users()
        .filter((user) => user.path.startsWith(prefix) && call.world.faults.isListed(user));
      return page(
        call,
        'Users',
        listed,
        ({ name }) => name,
        (user) => userXml(call, user, false),
      );
    },
  },

  /** Of everything that AWS counts, the users. */
  GetAccountSummary: {
    resource: () => '*',
    run: ({ account, world }) => ({
      SummaryMap: new Map([
        ['Users', account.users().length],
        ['UsersQuota', world.faults.settings.usersPerAccount],
      ]),
    }),
  },

  TagUser: {
    ...onUser((call) => {
      const user = call.user();
      const given = call.parameters.tags();
      const kept = user.tags.filter(({ key }) => !given.some((tag) => tag.key.toLowerCase() === key.toLowerCase()));
      user.tags = [...kept, ...given];
      call.account.saveUser(user);
      return {};
    }),
    context: requestTags,
  },

  UntagUser: onUser((call) => {
    const user = call.user();
    const keys = call.parameters.list('TagKeys').map((key) => key.toLowerCase());
    user.tags = user.tags.filter(({ key }) => !keys.includes(key.toLowerCase()));
    call.account.saveUser(user);
    return {};
  }),

  ListUserTags: onUser((call) => page(call, 'Tags', call.user().tags, ({ key }) => key, tagXml)),

  PutUserPermissionsBoundary: {
    ...onUser((call) => {
      call.account.putBoundary(call.user(), call.parameters.required('PermissionsBoundary', rules.arn));
      return {};
    }),
    context: ({ parameters }) => ({ 'iam:permissionsboundary': parameters.raw('PermissionsBoundary') }),
  },

  DeleteUserPermissionsBoundary: onUser((call) => {
    const user = call.user();
    if (user.boundary === undefined) {
      throw noSuchEntity(`The user with name ${user.name} does not have a permissions boundary.`);
    }
    delete user.boundary;
    call.account.saveUser(user);
    return {};
  }),
};

const policyArn = ({ parameters }: Call) => ({ 'iam:policyarn': parameters.raw('PolicyArn') });

/** Inline and managed policies of users. */
export const userPolicyActions: Actions = {
  PutUserPolicy: onUser((call) => {
    const name = call.parameters.required('PolicyName', rules.name);
    const document = call.parameters.required('PolicyDocument', rules.document);
    call.account.putUserPolicy(call.user(), name, document);
    return {};
  }),

  GetUserPolicy: onUser((call) => {
    const user = call.user();
    const { name, document } = inlinePolicy(call, user);
    return { UserName: user.name, PolicyName: name, PolicyDocument: encodedDocument(document) };
  }),

  DeleteUserPolicy: onUser((call) => {
    const user = call.user();
    const policy = inlinePolicy(call, user);
    user.inlinePolicies = user.inlinePolicies.filter((other) => other !== policy);
    call.account.saveUser(user);
    return {};
  }),

  ListUserPolicies: onUser((call) => {
    const names = call.user().inlinePolicies.map(({ name }) => name);
    return page(
      call,
      'PolicyNames',
      names,
      (name) => name,
      (name) => name,
    );
  }),

  AttachUserPolicy: {
    ...onUser((call) => {
      const arn = call.parameters.required('PolicyArn', rules.arn);
      call.account.attachUserPolicy(call.user(), arn);
      return {};
    }),
    context: policyArn,
  },

  DetachUserPolicy: {
    ...onUser((call) => {
      const arn = call.parameters.required('PolicyArn', rules.arn);
      const user = call.user();
      if (!user.attachedPolicies.includes(arn)) throw noSuchEntity(`Policy ${arn} was not found.`);
      user.attachedPolicies = user.attachedPolicies.filter((other) => other !== arn);
      call.account.saveUser(user);
      return {};
    }),
    context: policyArn,
  },

  ListAttachedUserPolicies: onUser((call) => attachedPage(call, call.user().attachedPolicies)),
};

/** One page of attached managed policies. */
export function attachedPage(call: Call, arns: string[]): XmlElements {
  return page(
    call,
    'AttachedPolicies',
    arns,
    (arn) => arn,
    (arn) => ({ PolicyName: arn.slice(arn.lastIndexOf('/') + 1), PolicyArn: arn }),
  );
}

function inlinePolicy(call: Call, user: User) {
  const name = call.parameters.required('PolicyName', rules.name);
  const policy = user.inlinePolicies.find((other) => other.name === name);
  if (!policy) throw noSuchEntity(`The user policy with name ${name} cannot be found.`);
  return policy;
}
