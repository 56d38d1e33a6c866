import { encodedDocument, onUser, page, type Action, type Actions, type Call } from '../action.js';
import { noSuchEntity } from '../aws-error.js';
import type { Group } from '../entities.js';
import { rules } from '../parameters.js';
import type { XmlElements } from '../xml.js';
import { attachedPage } from './users.js';

const groupName = (call: Call) => call.parameters.required('GroupName', rules.name);

const groupXml = ({ account }: Call, group: Group): XmlElements => ({
  Path: group.path,
  GroupName: group.name,
  GroupId: group.id,
  Arn: account.arn('group', group.path, group.name),
  CreateDate: new Date(group.createdAt),
});

/** Policies are asked about the group, also by AddUserToGroup and RemoveUserFromGroup (AWS's service authorization reference). */
const onGroup = (run: Action['run']): Action => ({
  resource: (call) => {
    const name = groupName(call);
    const path = call.account.groups().find((group) => group.name === name)?.path ?? '/';
    return call.account.arn('group', path, name);
  },
  run,
});

/** Groups, their policies and who is in them. */
export const groupActions: Actions = {
  CreateGroup: {
    resource: (call) => call.account.arn('group', call.parameters.optional('Path', rules.path) ?? '/', groupName(call)),
    run: (call) => {
      const path = call.parameters.optional('Path', rules.path) ?? '/';
      return { Group: groupXml(call, call.account.createGroup(groupName(call), { path })) };
    },
  },

  GetGroup: onGroup((call) => {
    const group = call.account.existingGroup(groupName(call));
    const members = call.account.users().filter(({ groups }) => groups.includes(group.name));
    const listed = page(
      call,
      'Users',
      members,
      ({ name }) => name,
      (user) => ({
        Path: user.path,
        UserName: user.name,
        UserId: user.id,
        Arn: call.account.arn('user', user.path, user.name),
        CreateDate: new Date(user.createdAt),
      }),
    );
    return { Group: groupXml(call, group), ...listed };
  }),

  PutGroupPolicy: onGroup((call) => {
    const name = call.parameters.required('PolicyName', rules.name);
    const document = call.parameters.required('PolicyDocument', rules.document);
    call.account.putGroupPolicy(call.account.existingGroup(groupName(call)), name, document);
    return {};
  }),

  GetGroupPolicy: onGroup((call) => {
    const group = call.account.existingGroup(groupName(call));
    const name = call.parameters.required('PolicyName', rules.name);
    const policy = group.inlinePolicies.find((other) => other.name === name);
    if (!policy) throw noSuchEntity(`The group policy with name ${name} cannot be found.`);
    return { GroupName: group.name, PolicyName: name, PolicyDocument: encodedDocument(policy.document) };
  }),

  ListGroupPolicies: onGroup((call) => {
    const names = call.account.existingGroup(groupName(call)).inlinePolicies.map(({ name }) => name);
    return page(
      call,
      'PolicyNames',
      names,
      (name) => name,
      (name) => name,
    );
  }),

  AttachGroupPolicy: onGroup((call) => {
    const arn = call.parameters.required('PolicyArn', rules.arn);
    call.account.attachGroupPolicy(call.account.existingGroup(groupName(call)), arn);
    return {};
  }),

  ListAttachedGroupPolicies: onGroup((call) =>
    attachedPage(call, call.account.existingGroup(groupName(call)).attachedPolicies),
  ),

  AddUserToGroup: onGroup((call) => {
    call.account.existingGroup(groupName(call));
    call.account.addUserToGroup(call.user(), groupName(call));
    return {};
  }),

  RemoveUserFromGroup: onGroup((call) => {
    const { name } = call.account.existingGroup(groupName(call));
    const user = call.user();
    if (!user.groups.includes(name)) throw noSuchEntity(`User ${user.name} is not in group ${name}.`);
    user.groups = user.groups.filter((other) => other !== name);
    call.account.saveUser(user);
    return {};
  }),

  ListGroupsForUser: onUser((call) => {
    const groups = call.user().groups.map((name) => call.account.existingGroup(name));
    return page(
      call,
      'Groups',
      groups,
      ({ name }) => name,
      (group) => groupXml(call, group),
    );
  }),
};
