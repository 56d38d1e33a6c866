import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import {
  AddUserToGroupCommand,
  AttachUserPolicyCommand,
  CreateAccessKeyCommand,
  CreateLoginProfileCommand,
  CreateServiceSpecificCredentialCommand,
  CreateUserCommand,
  CreateVirtualMFADeviceCommand,
  DeactivateMFADeviceCommand,
  DeleteAccessKeyCommand,
  DeleteLoginProfileCommand,
  DeleteServiceSpecificCredentialCommand,
  DeleteSigningCertificateCommand,
  DeleteSSHPublicKeyCommand,
  DeleteUserCommand,
  DeleteUserPolicyCommand,
  DeleteVirtualMFADeviceCommand,
  DetachUserPolicyCommand,
  EnableMFADeviceCommand,
  GetLoginProfileCommand,
  ListAccessKeysCommand,
  ListAttachedUserPoliciesCommand,
  ListGroupsForUserCommand,
  ListMFADevicesCommand,
  ListServiceSpecificCredentialsCommand,
  ListSigningCertificatesCommand,
  ListSSHPublicKeysCommand,
  ListUserPoliciesCommand,
  PutUserPolicyCommand,
  RemoveUserFromGroupCommand,
  UploadSigningCertificateCommand,
  UploadSSHPublicKeyCommand,
  type IAMClient,
} from '@aws-sdk/client-iam';
import { allowAll, sdkClients } from '../sdk-clients.spec-stub.js';
import { startSimulator, type Simulator } from '../simulator.js';

const UserName = 'y';
const PolicyArn = 'arn:aws:iam::aws:policy/ReadOnlyAccess';
const SerialNumber = 'arn:aws:iam::000000000000:mfa/y';
const pem = '-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----';

interface Attachment {
  kind: string;
  /** What AWS asks for before the user may go. */
  first: string;
  add(iam: IAMClient): Promise<unknown>;
  /** Finds it by listing, as one who did not make it must, and removes it. */
  remove(iam: IAMClient): Promise<unknown>;
}

const attachments: Attachment[] = [
  {
    kind: 'a login profile',
    first: 'delete login profile',
    add: (iam) => iam.send(new CreateLoginProfileCommand({ UserName, Password: crypto.randomUUID() })),
    remove: async (iam) => {
      await iam.send(new GetLoginProfileCommand({ UserName }));
      await iam.send(new DeleteLoginProfileCommand({ UserName }));
      await expect(iam.send(new GetLoginProfileCommand({ UserName }))).rejects.toMatchObject({
        message: 'Login Profile for User y cannot be found.',
      });
    },
  },
  {
    kind: 'an access key',
    first: 'delete access keys',
    add: (iam) => iam.send(new CreateAccessKeyCommand({ UserName })),
    remove: async (iam) => {
      const { AccessKeyMetadata = [] } = await iam.send(new ListAccessKeysCommand({ UserName }));
      for (const { AccessKeyId } of AccessKeyMetadata) {
        await iam.send(new DeleteAccessKeyCommand({ UserName, AccessKeyId }));
      }
    },
  },
  {
    kind: 'a signing certificate',
    first: 'delete certificates',
    add: (iam) => iam.send(new UploadSigningCertificateCommand({ UserName, CertificateBody: pem })),
    remove: async (iam) => {
      const { Certificates = [] } = await iam.send(new ListSigningCertificatesCommand({ UserName }));
      for (const { CertificateId } of Certificates) {
        await iam.send(new DeleteSigningCertificateCommand({ UserName, CertificateId }));
      }
    },
  },
  {
    kind: 'an SSH key',
    first: 'remove referenced objects',
    add: (iam) => iam.send(new UploadSSHPublicKeyCommand({ UserName, SSHPublicKeyBody: 'ssh-rsa AAAAB3NzaC1yc2E= y' })),
    remove: async (iam) => {
      const { SSHPublicKeys = [] } = await iam.send(new ListSSHPublicKeysCommand({ UserName }));
      for (const { SSHPublicKeyId } of SSHPublicKeys) {
        await iam.send(new DeleteSSHPublicKeyCommand({ UserName, SSHPublicKeyId }));
      }
    },
  },
  {
    kind: 'a service-specific credential',
    first: 'remove referenced objects',
    add: (iam) =>
      iam.send(new CreateServiceSpecificCredentialCommand({ UserName, ServiceName: 'codecommit.amazonaws.com' })),
    remove: async (iam) => {
      const listed = await iam.send(new ListServiceSpecificCredentialsCommand({ UserName }));
      for (const { ServiceSpecificCredentialId } of listed.ServiceSpecificCredentials ?? []) {
        await iam.send(new DeleteServiceSpecificCredentialCommand({ UserName, ServiceSpecificCredentialId }));
      }
    },
  },
  {
    kind: 'an MFA device',
    first: 'delete MFA device',
    add: async (iam) => {
      await iam.send(new CreateVirtualMFADeviceCommand({ VirtualMFADeviceName: 'y' }));
      await iam.send(
        new EnableMFADeviceCommand({
          UserName,
          SerialNumber,
          AuthenticationCode1: '123456',
          AuthenticationCode2: '654321',
        }),
      );
      await expect(iam.send(new DeleteVirtualMFADeviceCommand({ SerialNumber }))).rejects.toMatchObject({
        message: 'MFA VirtualDevice in use. Must deactivate first.',
      });
    },
    remove: async (iam) => {
      const { MFADevices = [] } = await iam.send(new ListMFADevicesCommand({ UserName }));
      expect(MFADevices).toMatchObject([{ SerialNumber }]);
      await iam.send(new DeactivateMFADeviceCommand({ UserName, SerialNumber }));
      await iam.send(new DeleteVirtualMFADeviceCommand({ SerialNumber }));
    },
  },
  {
    kind: 'an inline policy',
    first: 'delete policies',
    add: (iam) => iam.send(new PutUserPolicyCommand({ UserName, PolicyName: 'p', PolicyDocument: allowAll })),
    remove: async (iam) => {
      const { PolicyNames = [] } = await iam.send(new ListUserPoliciesCommand({ UserName }));
      for (const PolicyName of PolicyNames) await iam.send(new DeleteUserPolicyCommand({ UserName, PolicyName }));
    },
  },
  {
    kind: 'a managed policy',
    first: 'detach all policies',
    add: (iam) => iam.send(new AttachUserPolicyCommand({ UserName, PolicyArn })),
    remove: async (iam) => {
      const { AttachedPolicies = [] } = await iam.send(new ListAttachedUserPoliciesCommand({ UserName }));
      for (const attached of AttachedPolicies) {
        await iam.send(new DetachUserPolicyCommand({ UserName, PolicyArn: attached.PolicyArn }));
      }
    },
  },
  {
    kind: 'a group',
    first: 'remove users from group',
    add: (iam) => iam.send(new AddUserToGroupCommand({ UserName, GroupName: 'staff' })),
    remove: async (iam) => {
      const { Groups = [] } = await iam.send(new ListGroupsForUserCommand({ UserName }));
      for (const { GroupName } of Groups) await iam.send(new RemoveUserFromGroupCommand({ UserName, GroupName }));
    },
  },
];

describe('DeleteUser', () => {
  let simulator: Simulator;
  let iam: IAMClient;
  beforeEach(async () => {
    simulator = await startSimulator();
    iam = sdkClients(simulator, simulator.provisionRootIdentity({ userName: 'root', policy: allowAll })).iam;
    simulator.account().createGroup('staff');
    await iam.send(new CreateUserCommand({ UserName }));
  });
  afterEach(() => simulator.close());

  const deleteUser = () => iam.send(new DeleteUserCommand({ UserName }));

  it.each(attachments)(
    'is refused while the user has $kind, and done when it is gone',
    async ({ first, add, remove }) => {
      await add(iam);
      await expect(deleteUser()).rejects.toMatchObject({
        name: 'DeleteConflictException',
        message: `Cannot delete entity, must ${first} first.`,
        $metadata: { httpStatusCode: 409 },
      });
      expect(simulator.account().user(UserName)).toBeDefined();
      await remove(iam);
      await deleteUser();
      expect(simulator.account().user(UserName)).toBeUndefined();
    },
  );

  it('goes through all nine kinds on one user', async () => {
    for (const { add } of attachments) await add(iam);
    for (const { remove } of attachments) {
      await expect(deleteUser()).rejects.toMatchObject({ name: 'DeleteConflictException' });
      await remove(iam);
    }
    await deleteUser();
    await expect(deleteUser()).rejects.toMatchObject({ name: 'NoSuchEntityException' });
  });
});
