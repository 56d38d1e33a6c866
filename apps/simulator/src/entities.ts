/** What an account holds. Plain values, so that the journal can write and read them; instants are milliseconds. */

export interface Tag {
  key: string;
  value: string;
}

export interface NamedPolicy {
  name: string;
  document: string;
}

export interface PolicyHolder {
  inlinePolicies: NamedPolicy[];
  /** ARNs of managed policies. */
  attachedPolicies: string[];
}

export interface AccessKey {
  id: string;
  secret: string;
  active: boolean;
  createdAt: number;
  /** Seeded: known everywhere from its first instant, whatever the propagation time is set to. */
  settled: boolean;
  lastUsed?: { at: number; service: string; region: string };
}

/** A thing of a user that only has to be listed, removed, and to stand in the way of DeleteUser. */
export interface Credential {
  id: string;
  createdAt: number;
  active: boolean;
  /** The public text: an SSH key, a certificate, the service a credential is for. */
  text: string;
}

export interface User extends PolicyHolder {
  id: string;
  name: string;
  path: string;
  createdAt: number;
  settled: boolean;
  tags: Tag[];
  boundary?: string;
  groups: string[];
  accessKeys: AccessKey[];
  loginProfile?: { createdAt: number; resetRequired: boolean };
  sshKeys: Credential[];
  certificates: Credential[];
  serviceCredentials: Credential[];
}

export interface Group extends PolicyHolder {
  id: string;
  name: string;
  path: string;
  createdAt: number;
}

export interface Role extends PolicyHolder {
  id: string;
  name: string;
  path: string;
  createdAt: number;
  trustPolicy: string;
  maxSessionSeconds: number;
  description: string;
}

export interface ManagedPolicy {
  id: string;
  name: string;
  path: string;
  arn: string;
  createdAt: number;
  document: string;
}

export interface MfaDevice {
  /** The serial number, which is the device's ARN. */
  id: string;
  createdAt: number;
  /** What its codes come of, base64; a device without one has no code that is right. */
  seed?: string;
  /** Id of the user it is enabled for. */
  userId?: string;
  enabledAt?: number;
}

export interface Entities {
  user: User;
  group: Group;
  role: Role;
  policy: ManagedPolicy;
  mfaDevice: MfaDevice;
}
