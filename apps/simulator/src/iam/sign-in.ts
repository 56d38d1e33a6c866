import { createHash, randomBytes } from 'node:crypto';
import { onUser, page, type Actions, type Call } from '../action.js';
import { AwsError, entityAlreadyExists, limitExceeded, noSuchEntity, validationError } from '../aws-error.js';
import type { Credential, MfaDevice, User } from '../entities.js';
import { identifier } from '../identifiers.js';
import { toBase32 } from '../one-time-code.js';
import { rules } from '../parameters.js';
import type { XmlElements } from '../xml.js';

/** Passwords, SSH keys, certificates, service credentials and MFA devices: what the holder of a lease may add to a user. */

type Store = 'sshKeys' | 'certificates' | 'serviceCredentials';

const status = ({ active }: Credential) => (active ? 'Active' : 'Inactive');

function add(
  call: Call,
  user: User,
  store: Store,
  kind: string,
  text: string,
  quota: number,
  quotaName: string,
): Credential {
  if (user[store].length >= quota) throw limitExceeded(`Cannot exceed quota for ${quotaName}: ${quota}`);
  const credential = { id: identifier(kind), createdAt: call.now, active: true, text };
  user[store].push(credential);
  call.account.saveUser(user);
  return credential;
}

function remove(call: Call, store: Store, parameter: string, what: string): XmlElements {
  const id = call.parameters.required(parameter, rules.key);
  const user = call.user();
  if (!user[store].some((credential) => credential.id === id))
    throw noSuchEntity(`The ${what} with id ${id} cannot be found.`);
  user[store] = user[store].filter((credential) => credential.id !== id);
  call.account.saveUser(user);
  return {};
}

const byId = ({ id }: { id: string }) => id;

const sshKeyXml = (user: User, key: Credential): XmlElements => ({
  UserName: user.name,
  SSHPublicKeyId: key.id,
  Status: status(key),
  UploadDate: new Date(key.createdAt),
});

const certificateXml = (user: User, certificate: Credential): XmlElements => ({
  UserName: user.name,
  CertificateId: certificate.id,
  CertificateBody: certificate.text,
  Status: status(certificate),
  UploadDate: new Date(certificate.createdAt),
});

const serviceCredentialXml = ({ account }: Call, user: User, credential: Credential): XmlElements => ({
  UserName: user.name,
  ServiceSpecificCredentialId: credential.id,
  ServiceName: credential.text,
  ServiceUserName: `${user.name}-at-${account.id}`,
  Status: status(credential),
  CreateDate: new Date(credential.createdAt),
});

const loginProfileXml = (user: User, profile: NonNullable<User['loginProfile']>): XmlElements => ({
  UserName: user.name,
  CreateDate: new Date(profile.createdAt),
  PasswordResetRequired: profile.resetRequired,
});

function existingLoginProfile(user: User): NonNullable<User['loginProfile']> {
  if (!user.loginProfile) throw noSuchEntity(`Login Profile for User ${user.name} cannot be found.`);
  return user.loginProfile;
}

export const credentialActions: Actions = {
  CreateLoginProfile: onUser((call) => {
    call.parameters.required('Password', { max: 128 });
    const user = call.user();
    if (user.loginProfile) throw entityAlreadyExists(`Login Profile for user ${user.name} already exists.`);
    user.loginProfile = { createdAt: call.now, resetRequired: call.parameters.raw('PasswordResetRequired') === 'true' };
    call.account.saveUser(user);
    return { LoginProfile: loginProfileXml(user, user.loginProfile) };
  }),

  GetLoginProfile: onUser((call) => {
    const user = call.user();
    return { LoginProfile: loginProfileXml(user, existingLoginProfile(user)) };
  }),

  DeleteLoginProfile: onUser((call) => {
    const user = call.user();
    existingLoginProfile(user);
    delete user.loginProfile;
    call.account.saveUser(user);
    return {};
  }),

  UploadSSHPublicKey: onUser((call) => {
    const text = call.parameters.required('SSHPublicKeyBody', rules.text);
    if (!/^(ssh-rsa |ssh-ed25519 |-----BEGIN PUBLIC KEY-----)/.test(text)) {
      throw new AwsError('InvalidPublicKey', 'The public key is malformed or otherwise invalid.');
    }
    const user = call.user();
    const key = add(call, user, 'sshKeys', 'APKA', text, 5, 'SSHPublicKeysPerUser');
    const fingerprint = createHash('md5').update(text).digest('hex').match(/../g)?.join(':');
    return { SSHPublicKey: { ...sshKeyXml(user, key), Fingerprint: fingerprint, SSHPublicKeyBody: text } };
  }),

  ListSSHPublicKeys: onUser((call) => {
    const user = call.user();
    return page(call, 'SSHPublicKeys', user.sshKeys, byId, (key) => sshKeyXml(user, key));
  }),

  DeleteSSHPublicKey: onUser((call) => remove(call, 'sshKeys', 'SSHPublicKeyId', 'SSH Public Key')),

  UploadSigningCertificate: onUser((call) => {
    const text = call.parameters.required('CertificateBody', rules.text);
    if (!text.includes('-----BEGIN CERTIFICATE-----')) {
      throw new AwsError(
        'MalformedCertificate',
        'Unable to parse certificate. Please ensure the certificate is in PEM format.',
      );
    }
    const user = call.user();
    const certificate = add(call, user, 'certificates', '', text, 2, 'SigningCertificatesPerUser');
    return { Certificate: certificateXml(user, certificate) };
  }),

  ListSigningCertificates: onUser((call) => {
    const user = call.user();
    return page(call, 'Certificates', user.certificates, byId, (certificate) => certificateXml(user, certificate));
  }),

  DeleteSigningCertificate: onUser((call) => remove(call, 'certificates', 'CertificateId', 'Certificate')),

  CreateServiceSpecificCredential: onUser((call) => {
    const service = call.parameters.required('ServiceName', rules.text);
    if (!/^(codecommit|cassandra|bedrock)\.amazonaws\.com$/.test(service)) {
      throw new AwsError('NotSupportedService', `No such service ${service}`, 404);
    }
    const user = call.user();
    const credential = add(call, user, 'serviceCredentials', 'ACCA', service, 2, 'ServiceSpecificCredentialsPerUser');
    const password = randomBytes(30).toString('base64');
    return {
      ServiceSpecificCredential: { ...serviceCredentialXml(call, user, credential), ServicePassword: password },
    };
  }),

  ListServiceSpecificCredentials: onUser((call) => {
    const user = call.user();
    const service = call.parameters.raw('ServiceName');
    const listed = user.serviceCredentials.filter(({ text }) => service === undefined || text === service);
    return page(call, 'ServiceSpecificCredentials', listed, byId, (item) => serviceCredentialXml(call, user, item));
  }),

  DeleteServiceSpecificCredential: onUser((call) =>
    remove(call, 'serviceCredentials', 'ServiceSpecificCredentialId', 'Service Specific Credential'),
  ),
};

const serial = (call: Call) => call.parameters.required('SerialNumber', { min: 9, max: 256 });

function existingDevice(call: Call): MfaDevice {
  const device = call.account.mfaDevice(serial(call));
  if (!device) throw noSuchEntity(`VirtualMFADevice with serial number ${serial(call)} doesn't exist.`);
  return device;
}

export const mfaActions: Actions = {
  CreateVirtualMFADevice: {
    resource: ({ account, parameters }) =>
      account.arn('mfa', '/', parameters.required('VirtualMFADeviceName', rules.name)),
    run: ({ account, parameters, now }) => {
      const id = account.arn('mfa', '/', parameters.required('VirtualMFADeviceName', rules.name));
      if (account.mfaDevice(id))
        throw entityAlreadyExists('MFADevice entity at the same path and name already exists.');
      const seed = randomBytes(20);
      account.saveMfaDevice({ id, createdAt: now, seed: seed.toString('base64') });
      // A blob: the text in base32, and that in base64.
      const text = Buffer.from(toBase32(seed)).toString('base64');
      return { VirtualMFADevice: { SerialNumber: id, Base32StringSeed: text } };
    },
  },

  EnableMFADevice: onUser((call) => {
    const codes = ['AuthenticationCode1', 'AuthenticationCode2'].map((name) =>
      call.parameters.required(name, rules.text),
    );
    if (!codes.every((code) => /^\d{6}$/.test(code)))
      throw validationError('The specified authentication code is invalid.');
    const user = call.user();
    const device = existingDevice(call);
    if (device.userId !== undefined) throw entityAlreadyExists('MFA Device is already in use.');
    call.account.saveMfaDevice({ ...device, userId: user.id, enabledAt: call.now });
    return {};
  }),

  DeactivateMFADevice: onUser((call) => {
    const user = call.user();
    const device = call.account.mfaDevice(serial(call));
    if (device?.userId !== user.id) throw noSuchEntity('MFA Device invalid for user.');
    const { id, createdAt, seed } = device;
    call.account.saveMfaDevice({ id, createdAt, ...(seed !== undefined && { seed }) });
    return {};
  }),

  ListMFADevices: onUser((call) => {
    const user = call.user();
    return page(call, 'MFADevices', call.account.mfaDevices(user), byId, (device) => ({
      UserName: user.name,
      SerialNumber: device.id,
      EnableDate: new Date(device.enabledAt ?? device.createdAt),
    }));
  }),

  ListVirtualMFADevices: {
    resource: ({ account }) => account.arn('mfa', '/', ''),
    run: (call) =>
      page(call, 'VirtualMFADevices', call.account.mfaDevices(), byId, ({ id, enabledAt }) => ({
        SerialNumber: id,
        EnableDate: enabledAt === undefined ? undefined : new Date(enabledAt),
      })),
  },

  DeleteVirtualMFADevice: {
    resource: serial,
    run: (call) => {
      const device = existingDevice(call);
      if (device.userId !== undefined) {
        throw new AwsError('DeleteConflict', 'MFA VirtualDevice in use. Must deactivate first.', 409);
      }
      call.account.deleteMfaDevice(device);
      return {};
    },
  },
};
