import type { Account } from './account.js';
import { validationError } from './aws-error.js';
import type { Caller } from './caller.js';
import type { User } from './entities.js';
import { rules, type Parameters } from './parameters.js';
import type { World } from './world.js';
import type { XmlElements, XmlValue } from './xml.js';

/** The actions whose UserName may be left out (IAM API reference). */
const meansCallerByDefault = new Set([
  'GetUser',
  'CreateAccessKey',
  'UpdateAccessKey',
  'DeleteAccessKey',
  'ListAccessKeys',
  'CreateLoginProfile',
  'GetLoginProfile',
  'DeleteLoginProfile',
  'UploadSigningCertificate',
  'ListSigningCertificates',
  'DeleteSigningCertificate',
  'ListSSHPublicKeys',
  'ListServiceSpecificCredentials',
  'DeleteServiceSpecificCredential',
  'ListMFADevices',
  'DeactivateMFADevice',
]);

/** One call, after its signature was found good. */
export class Call {
  constructor(
    readonly world: World,
    readonly caller: Caller,
    readonly action: string,
    readonly parameters: Parameters,
  ) {}

  get account(): Account {
    return this.caller.account;
  }

  get now(): number {
    return this.world.faults.now();
  }

  /** UserName, or the caller's own name where AWS lets it be left out. @throws AwsError ValidationError. */
  userName(): string {
    const given = this.parameters.optional('UserName', rules.userName);
    if (given !== undefined) return given;
    if (!meansCallerByDefault.has(this.action)) return this.parameters.required('UserName', rules.userName);
    if (this.caller.user) return this.caller.user.name;
    throw validationError('Must specify userName when calling with non-User credentials');
  }

  /** The user that the call names, with what eventual consistency makes of it. @throws AwsError NoSuchEntity and others. */
  user(): User {
    const user = this.account.existingUser(this.userName());
    this.world.faults.disturb(this.action, user);
    return user;
  }

  /** The ARN by which the named user is asked for in policies, whether or not there is such a user. */
  userArn(): string {
    const name = this.userName();
    return this.account.arn('user', this.account.user(name)?.path ?? '/', name);
  }
}

/** How one action of the API is answered. */
export interface Action {
  /** The ARN that the caller's policies are asked about; unset: the action decides for itself, or anyone may. */
  resource?: (call: Call) => string;
  /** Condition keys, lower case, beside those that every caller has. */
  context?: (call: Call) => Record<string, string | undefined>;
  /** Further actions that must be allowed on the same resource. */
  alsoNeeds?: (call: Call) => string[];
  run: (call: Call) => XmlElements;
}

export type Actions = Record<string, Action>;

/** An action on the user that UserName names, or on the caller. */
export const onUser = (run: Action['run']): Action => ({ resource: (call) => call.userArn(), run });

/**
 * One page of a list by Marker and MaxItems, in the order of `keyOf`; items may come and go between pages.
 * @throws AwsError ValidationError.
 */
export function page<Item>(
  call: Call,
  name: string,
  items: Item[],
  keyOf: (item: Item) => string,
  show: (item: Item) => XmlValue,
): XmlElements {
  const size = call.parameters.integer('MaxItems', 1, 1_000) ?? 100;
  const marker = call.parameters.raw('Marker');
  const after = marker === undefined ? '' : Buffer.from(marker, 'base64url').toString();
  const rest = items.filter((item) => keyOf(item) > after).sort((a, b) => (keyOf(a) < keyOf(b) ? -1 : 1));
  const shown = rest.slice(0, size);
  const last = shown.at(-1);
  const more = rest.length > size && last !== undefined;
  return {
    IsTruncated: more,
    Marker: more ? Buffer.from(keyOf(last)).toString('base64url') : undefined,
    [name]: shown.map(show),
  };
}

/** Policy documents travel back in RFC 3986 form, as IAM sends them. */
export const encodedDocument = (document: string) =>
  encodeURIComponent(document).replace(
    /[!'()*]/g,
    (character) => `%${character.charCodeAt(0).toString(16).toUpperCase()}`,
  );
