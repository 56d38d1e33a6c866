import { deleteConflict, entityAlreadyExists, limitExceeded, noSuchEntity } from './aws-error.js';
import { isAwsManaged } from './aws-managed-policies.js';
import type {
  AccessKey,
  Entities,
  Group,
  ManagedPolicy,
  MfaDevice,
  PolicyHolder,
  Role,
  Tag,
  User,
} from './entities.js';
import { accessKeyIdentifier, identifier, secretAccessKey } from './identifiers.js';
import { readPolicy } from './policy-document.js';
import type { World } from './world.js';

type Restored = { [K in keyof Entities]: { put: K; value: Entities[K] } }[keyof Entities];

const inlineLimits = { user: 2_048, group: 5_120, role: 10_240 };

/**
 * One AWS account: users, groups, roles and policies with the rules that hold whoever asks: names, quotas, what
 * must be gone before what. Nothing here asks for permission, so tests may seed and inspect through it. What is
 * returned is the thing itself, to be changed by these methods only. Refusals are AwsErrors.
 */
export class Account {
  /** By lower-case name: AWS does not distinguish names by case. */
  private readonly usersByName = new Map<string, User>();
  private readonly usersById = new Map<string, User>();
  private readonly groupsByName = new Map<string, Group>();
  private readonly rolesByName = new Map<string, Role>();
  private readonly policiesByArn = new Map<string, ManagedPolicy>();
  private readonly mfaDevicesById = new Map<string, MfaDevice>();

  constructor(
    readonly id: string,
    private readonly world: World,
  ) {}

  /** Takes in what the journal remembers; nothing is written. */
  restore({ put, value }: Restored): void {
    if (put === 'user') this.index(value);
    else if (put === 'group') this.groupsByName.set(value.name.toLowerCase(), value);
    else if (put === 'role') this.rolesByName.set(value.name.toLowerCase(), value);
    else if (put === 'policy') this.policiesByArn.set(value.arn, value);
    else this.mfaDevicesById.set(value.id, value);
  }

  arn(kind: 'user' | 'group' | 'role' | 'policy' | 'mfa', path: string, name: string): string {
    return `arn:aws:iam::${this.id}:${kind}${path}${name}`;
  }

  users(): User[] {
    return [...this.usersByName.values()];
  }

  user(name: string): User | undefined {
    const user = this.usersByName.get(name.toLowerCase());
    return user?.name === name ? user : undefined;
  }

  userById(id: string): User | undefined {
    return this.usersById.get(id);
  }

  existingUser(name: string): User {
    const user = this.user(name);
    if (!user) throw noSuchEntity(`The user with name ${name} cannot be found.`);
    return user;
  }

  createUser(name: string, options: { path?: string; tags?: Tag[]; boundary?: string; settled?: boolean } = {}): User {
    if (this.usersByName.has(name.toLowerCase())) throw entityAlreadyExists(`User with name ${name} already exists.`);
    const quota = this.world.faults.settings.usersPerAccount;
    if (this.usersByName.size >= quota) throw limitExceeded(`Cannot exceed quota for UsersPerAccount: ${quota}`);
    if (options.boundary !== undefined) this.existingPolicy(options.boundary);
    const user: User = {
      id: identifier('AIDA'),
      name,
      path: options.path ?? '/',
      createdAt: this.world.faults.now(),
      settled: options.settled ?? true,
      tags: options.tags ?? [],
      ...(options.boundary === undefined ? {} : { boundary: options.boundary }),
      inlinePolicies: [],
      attachedPolicies: [],
      groups: [],
      accessKeys: [],
      sshKeys: [],
      certificates: [],
      serviceCredentials: [],
    };
    this.index(user);
    return this.saveUser(user);
  }

  renameUser(user: User, changes: { name?: string | undefined; path?: string | undefined }): void {
    const name = changes.name ?? user.name;
    const holder = this.usersByName.get(name.toLowerCase());
    if (holder && holder !== user) throw entityAlreadyExists(`User with name ${name} already exists.`);
    this.usersByName.delete(user.name.toLowerCase());
    user.name = name;
    user.path = changes.path ?? user.path;
    this.usersByName.set(name.toLowerCase(), user);
    this.saveUser(user);
  }

  /** Refused with DeleteConflict until all nine kinds of attachment are gone. */
  deleteUser(user: User): void {
    if (user.loginProfile) throw deleteConflict('delete login profile');
    if (user.accessKeys.length > 0) throw deleteConflict('delete access keys');
    if (user.certificates.length > 0) throw deleteConflict('delete certificates');
    if (this.mfaDevices(user).length > 0) throw deleteConflict('delete MFA device');
    if (user.inlinePolicies.length > 0) throw deleteConflict('delete policies');
    if (user.attachedPolicies.length > 0) throw deleteConflict('detach all policies');
    if (user.groups.length > 0) throw deleteConflict('remove users from group');
    if (user.sshKeys.length + user.serviceCredentials.length > 0) throw deleteConflict('remove referenced objects');
    this.usersByName.delete(user.name.toLowerCase());
    this.usersById.delete(user.id);
    this.world.journal.drop('user', this.id, user.id);
  }

  /** Records what was changed on a user. Everything that changes one ends here, before the call is answered. */
  saveUser(user: User): User {
    this.world.journal.put('user', this.id, user);
    return user;
  }

  createAccessKey(user: User, options: { settled?: boolean } = {}): AccessKey {
    if (user.accessKeys.length >= 2) throw limitExceeded('Cannot exceed quota for AccessKeysPerUser: 2');
    const key: AccessKey = {
      id: accessKeyIdentifier('AKIA'),
      secret: secretAccessKey(),
      active: true,
      createdAt: this.world.faults.now(),
      settled: options.settled ?? true,
    };
    user.accessKeys.push(key);
    this.world.addKey({ account: this, user, key });
    this.saveUser(user);
    return key;
  }

  existingAccessKey(user: User, accessKeyId: string): AccessKey {
    const key = user.accessKeys.find(({ id }) => id === accessKeyId);
    if (!key) throw noSuchEntity(`The Access Key with id ${accessKeyId} cannot be found.`);
    return key;
  }

  deleteAccessKey(user: User, accessKeyId: string): void {
    const key = this.existingAccessKey(user, accessKeyId);
    user.accessKeys = user.accessKeys.filter((other) => other !== key);
    this.world.removeKey(key.id);
    this.saveUser(user);
  }

  putUserPolicy(user: User, name: string, document: string): void {
    putInline(user, name, document, 'user', user.name);
    this.saveUser(user);
  }

  attachUserPolicy(user: User, arn: string): void {
    this.attach(user, arn, 'User');
    this.saveUser(user);
  }

  putBoundary(user: User, arn: string): void {
    this.existingPolicy(arn);
    user.boundary = arn;
    this.saveUser(user);
  }

  addUserToGroup(user: User, groupName: string): void {
    const { name } = this.existingGroup(groupName);
    if (user.groups.includes(name)) return;
    if (user.groups.length >= 10) throw limitExceeded('Cannot exceed quota for GroupsPerUser: 10');
    user.groups.push(name);
    this.saveUser(user);
  }

  groups(): Group[] {
    return [...this.groupsByName.values()];
  }

  existingGroup(name: string): Group {
    const group = this.groupsByName.get(name.toLowerCase());
    if (group?.name !== name) throw noSuchEntity(`The group with name ${name} cannot be found.`);
    return group;
  }

  createGroup(
    name: string,
    options: { path?: string; policies?: Record<string, string>; attached?: string[] } = {},
  ): Group {
    if (this.groupsByName.has(name.toLowerCase())) throw entityAlreadyExists(`Group with name ${name} already exists.`);
    const group: Group = {
      id: identifier('AGPA'),
      name,
      path: options.path ?? '/',
      createdAt: this.world.faults.now(),
      inlinePolicies: [],
      attachedPolicies: [],
    };
    for (const [policy, document] of Object.entries(options.policies ?? {}))
      putInline(group, policy, document, 'group', name);
    for (const arn of options.attached ?? []) this.attach(group, arn, 'Group');
    this.groupsByName.set(name.toLowerCase(), group);
    this.world.journal.put('group', this.id, group);
    return group;
  }

  putGroupPolicy(group: Group, name: string, document: string): void {
    putInline(group, name, document, 'group', group.name);
    this.world.journal.put('group', this.id, group);
  }

  attachGroupPolicy(group: Group, arn: string): void {
    this.attach(group, arn, 'Group');
    this.world.journal.put('group', this.id, group);
  }

  roles(): Role[] {
    return [...this.rolesByName.values()];
  }

  role(name: string): Role | undefined {
    const role = this.rolesByName.get(name.toLowerCase());
    return role?.name === name ? role : undefined;
  }

  existingRole(name: string): Role {
    const role = this.role(name);
    if (!role) throw noSuchEntity(`The role with name ${name} cannot be found.`);
    return role;
  }

  createRole(
    name: string,
    trustPolicy: string,
    options: {
      path?: string;
      maxSessionSeconds?: number;
      description?: string;
      policies?: Record<string, string>;
      attached?: string[];
    } = {},
  ): Role {
    if (this.rolesByName.has(name.toLowerCase())) throw entityAlreadyExists(`Role with name ${name} already exists.`);
    readPolicy(trustPolicy, 'trust');
    const role: Role = {
      id: identifier('AROA'),
      name,
      path: options.path ?? '/',
      createdAt: this.world.faults.now(),
      trustPolicy,
      maxSessionSeconds: options.maxSessionSeconds ?? 3_600,
      description: options.description ?? '',
      inlinePolicies: [],
      attachedPolicies: [],
    };
    for (const [policy, document] of Object.entries(options.policies ?? {}))
      putInline(role, policy, document, 'role', name);
    for (const arn of options.attached ?? []) this.attach(role, arn, 'Role');
    this.rolesByName.set(name.toLowerCase(), role);
    this.world.journal.put('role', this.id, role);
    return role;
  }

  putRolePolicy(role: Role, name: string, document: string): void {
    putInline(role, name, document, 'role', role.name);
    this.world.journal.put('role', this.id, role);
  }

  attachRolePolicy(role: Role, arn: string): void {
    this.attach(role, arn, 'Role');
    this.world.journal.put('role', this.id, role);
  }

  policies(): ManagedPolicy[] {
    return [...this.policiesByArn.values()];
  }

  createPolicy(name: string, document: string, options: { path?: string } = {}): ManagedPolicy {
    readPolicy(document);
    if (document.replace(/\s/g, '').length > 6_144) throw limitExceeded('Cannot exceed quota for PolicySize: 6144');
    if (this.policies().some((other) => other.name.toLowerCase() === name.toLowerCase())) {
      throw entityAlreadyExists(`A policy called ${name} already exists. Duplicate names are not allowed.`);
    }
    const path = options.path ?? '/';
    const arn = this.arn('policy', path, name);
    const policy = { id: identifier('ANPA'), name, path, arn, createdAt: this.world.faults.now(), document };
    this.policiesByArn.set(arn, policy);
    this.world.journal.put('policy', this.id, policy);
    return policy;
  }

  /** The document of one of this account's own managed policies. */
  policyDocument(arn: string): string | undefined {
    return this.policiesByArn.get(arn)?.document;
  }

  /** Every MFA device, or those that are enabled for one user. */
  mfaDevices(user?: User): MfaDevice[] {
    const devices = [...this.mfaDevicesById.values()];
    return user ? devices.filter(({ userId }) => userId === user.id) : devices;
  }

  mfaDevice(serial: string): MfaDevice | undefined {
    return this.mfaDevicesById.get(serial);
  }

  saveMfaDevice(device: MfaDevice): void {
    this.mfaDevicesById.set(device.id, device);
    this.world.journal.put('mfaDevice', this.id, device);
  }

  deleteMfaDevice(device: MfaDevice): void {
    this.mfaDevicesById.delete(device.id);
    this.world.journal.drop('mfaDevice', this.id, device.id);
  }

  private index(user: User): void {
    this.usersByName.set(user.name.toLowerCase(), user);
    this.usersById.set(user.id, user);
    for (const key of user.accessKeys) this.world.addKey({ account: this, user, key });
  }

  private existingPolicy(arn: string): void {
    if (isAwsManaged(arn) || this.policiesByArn.has(arn)) return;
    throw noSuchEntity(`Policy ${arn} does not exist or is not attachable.`);
  }

  private attach(holder: PolicyHolder, arn: string, kind: 'User' | 'Group' | 'Role'): void {
    this.existingPolicy(arn);
    if (holder.attachedPolicies.includes(arn)) return;
    if (holder.attachedPolicies.length >= 10) throw limitExceeded(`Cannot exceed quota for PoliciesPer${kind}: 10`);
    holder.attachedPolicies.push(arn);
  }
}

/** AWS counts the characters of all inline policies of a user, group or role together, white space left out. */
function putInline(
  holder: PolicyHolder,
  name: string,
  document: string,
  kind: keyof typeof inlineLimits,
  owner: string,
): void {
  readPolicy(document);
  const others = holder.inlinePolicies.filter((policy) => policy.name !== name);
  const size = [...others, { document }].reduce((sum, policy) => sum + policy.document.replace(/\s/g, '').length, 0);
  const limit = inlineLimits[kind];
  if (size > limit) throw limitExceeded(`Maximum policy size of ${limit} bytes exceeded for ${kind} ${owner}`);
  holder.inlinePolicies = [...others, { name, document }];
}
