import {
  DeactivateMFADeviceCommand,
  DeleteAccessKeyCommand,
  DeleteLoginProfileCommand,
  DeleteServiceSpecificCredentialCommand,
  DeleteSigningCertificateCommand,
  DeleteSSHPublicKeyCommand,
  DeleteUserPolicyCommand,
  DetachUserPolicyCommand,
  ListAccessKeysCommand,
  ListAttachedUserPoliciesCommand,
  ListGroupsForUserCommand,
  ListMFADevicesCommand,
  ListServiceSpecificCredentialsCommand,
  ListSigningCertificatesCommand,
  ListSSHPublicKeysCommand,
  ListUserPoliciesCommand,
  RemoveUserFromGroupCommand,
} from '@aws-sdk/client-iam';
import type { AwsAccount } from './aws-account.js';
import { AwsFailure } from './aws-failure.js';
import { everyPage } from './pages.js';

/** One of the nine kinds of thing that DeleteUser wants gone first (aws-facts.md, "Limits"). */
interface AttachmentKind {
  listAction: string;
  removeAction: string;
  list(account: AwsAccount, userName: string): Promise<string[]>;
  remove(account: AwsAccount, userName: string, id: string): Promise<unknown>;
}

/** One thing that hangs on a user: its kind and its id, name or ARN. */
export type Attachment = readonly [kind: AttachmentKind, id: string];

export const accessKey: AttachmentKind = {
  listAction: 'ListAccessKeys',
  removeAction: 'DeleteAccessKey',
  list: (account, UserName) =>
    everyPage(
      (Marker) => account.iam(ListAccessKeysCommand, { UserName, Marker }),
      (page) => page.AccessKeyMetadata?.map((key) => key.AccessKeyId),
    ),
  remove: (account, UserName, AccessKeyId) => account.iam(DeleteAccessKeyCommand, { UserName, AccessKeyId }),
};

const loginProfile: AttachmentKind = {
  listAction: 'GetLoginProfile',
  removeAction: 'DeleteLoginProfile',
  // There is one at most, and deleting what is not there does no harm: no need to ask.
  list: () => Promise.resolve(['login profile']),
  remove: (account, UserName) => account.iam(DeleteLoginProfileCommand, { UserName }),
};

const signingCertificate: AttachmentKind = {
  listAction: 'ListSigningCertificates',
  removeAction: 'DeleteSigningCertificate',
  list: (account, UserName) =>
    everyPage(
      (Marker) => account.iam(ListSigningCertificatesCommand, { UserName, Marker }),
      (page) => page.Certificates?.map((certificate) => certificate.CertificateId),
    ),
  remove: (account, UserName, CertificateId) =>
    account.iam(DeleteSigningCertificateCommand, { UserName, CertificateId }),
};

const sshPublicKey: AttachmentKind = {
  listAction: 'ListSSHPublicKeys',
  removeAction: 'DeleteSSHPublicKey',
  list: (account, UserName) =>
    everyPage(
      (Marker) => account.iam(ListSSHPublicKeysCommand, { UserName, Marker }),
      (page) => page.SSHPublicKeys?.map((key) => key.SSHPublicKeyId),
    ),
  remove: (account, UserName, SSHPublicKeyId) => account.iam(DeleteSSHPublicKeyCommand, { UserName, SSHPublicKeyId }),
};

const serviceSpecificCredential: AttachmentKind = {
  listAction: 'ListServiceSpecificCredentials',
  removeAction: 'DeleteServiceSpecificCredential',
  list: (account, UserName) =>
    everyPage(
      (Marker) => account.iam(ListServiceSpecificCredentialsCommand, { UserName, Marker }),
      (page) => page.ServiceSpecificCredentials?.map((credential) => credential.ServiceSpecificCredentialId),
    ),
  remove: (account, UserName, ServiceSpecificCredentialId) =>
    account.iam(DeleteServiceSpecificCredentialCommand, { UserName, ServiceSpecificCredentialId }),
};

export const inlinePolicy: AttachmentKind = {
  listAction: 'ListUserPolicies',
  removeAction: 'DeleteUserPolicy',
  list: (account, UserName) =>
    everyPage(
      (Marker) => account.iam(ListUserPoliciesCommand, { UserName, Marker }),
      (page) => page.PolicyNames,
    ),
  remove: (account, UserName, PolicyName) => account.iam(DeleteUserPolicyCommand, { UserName, PolicyName }),
};

export const attachedPolicy: AttachmentKind = {
  listAction: 'ListAttachedUserPolicies',
  removeAction: 'DetachUserPolicy',
  list: (account, UserName) =>
    everyPage(
      (Marker) => account.iam(ListAttachedUserPoliciesCommand, { UserName, Marker }),
      (page) => page.AttachedPolicies?.map((policy) => policy.PolicyArn),
    ),
  remove: (account, UserName, PolicyArn) => account.iam(DetachUserPolicyCommand, { UserName, PolicyArn }),
};

export const group: AttachmentKind = {
  listAction: 'ListGroupsForUser',
  removeAction: 'RemoveUserFromGroup',
  list: (account, UserName) =>
    everyPage(
      (Marker) => account.iam(ListGroupsForUserCommand, { UserName, Marker }),
      (page) => page.Groups?.map((each) => each.GroupName),
    ),
  remove: (account, UserName, GroupName) => account.iam(RemoveUserFromGroupCommand, { UserName, GroupName }),
};

const mfaDevice: AttachmentKind = {
  listAction: 'ListMFADevices',
  removeAction: 'DeactivateMFADevice',
  list: (account, UserName) =>
    everyPage(
      (Marker) => account.iam(ListMFADevicesCommand, { UserName, Marker }),
      (page) => page.MFADevices?.map((device) => device.SerialNumber),
    ),
  // A virtual device stays behind without its user: DeleteUser asks for no more, and no row of ours names the device.
  remove: (account, UserName, SerialNumber) => account.iam(DeactivateMFADeviceCommand, { UserName, SerialNumber }),
};

const waysIn = [accessKey, loginProfile, signingCertificate, sshPublicKey, serviceSpecificCredential];
const waysOn = [inlinePolicy, attachedPolicy, group, mfaDevice];

/**
 * Removes things side by side and waits for all of them; what is not there any more is fine, and so is what AWS refuses to
 * remove, unless it is a key.
 * @returns whether anything was there
 * @throws {CodedError} of the first that could not be removed
 */
export async function removeAll(account: AwsAccount, userName: string, things: Attachment[]): Promise<boolean> {
  const settled = await Promise.allSettled(
    things.map(async ([kind, id]) => {
      try {
        await kind.remove(account, userName, id);
        return true;
      } catch (error) {
        if (!(error instanceof AwsFailure)) throw error;
        // Gone because of our own unanswered try, or gone before.
        if (error.awsCode === 'NoSuchEntity') return error.unanswered;
        // It may never have been made, for want of the same right: DeleteUser says whether it is in the way. A key has no
        // such benefit of the doubt, since what comes after it widens what it may do.
        if (error.kind === 'refused' && kind !== accessKey) return false;
        throw error.toError();
      }
    }),
  );
  const failed = settled.find((each) => each.status === 'rejected');
  if (failed !== undefined) throw failed.reason;
  return settled.some((each) => each.status === 'fulfilled' && each.value);
}

/**
 * Lists every kind of attachment and removes what is found, the ways in before the permissions. Kinds that we may not
 * list or remove are skipped.
 * @returns the IAM rights that were missing
 * @throws {CodedError} `AwsThrottled`, `AwsUnreachable`
 */
export async function detachAll(account: AwsAccount, userName: string): Promise<string[]> {
  const missing = new Set<string>();
  const unlessRefused = async <T>(action: string, otherwise: T, step: Promise<T>): Promise<T> => {
    try {
      return await step;
    } catch (error) {
      if (!(error instanceof AwsFailure)) throw error;
      if (error.awsCode === 'NoSuchEntity') return otherwise;
      if (error.kind !== 'refused') throw error.toError();
      missing.add(`iam:${action}`);
      return otherwise;
    }
  };
  const detach = async (kind: AttachmentKind) => {
    const ids = await unlessRefused(kind.listAction, [], kind.list(account, userName));
    await settle(ids.map((id) => unlessRefused(kind.removeAction, undefined, kind.remove(account, userName, id))));
  };
  await settle(waysIn.map(detach));
  await settle(waysOn.map(detach));
  return [...missing];
}

/** Waits for all, so that nothing is under way when it throws the first failure. */
async function settle(steps: Promise<unknown>[]): Promise<void> {
  const failed = (await Promise.allSettled(steps)).find((step) => step.status === 'rejected');
  if (failed !== undefined) throw failed.reason;
}
