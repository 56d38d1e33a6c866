import type { Actions, Call } from '../action.js';
import { accessDenied, validationError } from '../aws-error.js';
import { authorise } from '../caller.js';
import type { User } from '../entities.js';
import { isCodeOf } from '../one-time-code.js';
import { rules } from '../parameters.js';
import { assumeRole } from './assume-role.js';
import { credentialsXml, issueSession, readSessionPolicy } from './session-credentials.js';

/** GetFederationToken and GetSessionToken ask for the long-term key of an IAM user. */
function longTermUser({ caller, action }: Call): User {
  if (caller.user && !caller.session) return caller.user;
  throw accessDenied(`Cannot call ${action} with session credentials`);
}

/** Whether the call brings a right code of a device of the user. @throws AwsError AccessDenied, ValidationError. */
function mfaOf({ account, parameters, now }: Call, user: User): boolean {
  const serial = parameters.optional('SerialNumber', { min: 9, max: 256 });
  const code = parameters.optional('TokenCode', { min: 6, max: 6 });
  if (serial === undefined && code === undefined) return false;
  if (serial === undefined) throw validationError('SerialNumber is required when TokenCode is specified.');
  if (code === undefined) {
    throw accessDenied('MultiFactorAuthentication failed, must provide both MFA serial number and one time pass code.');
  }
  const device = account.mfaDevice(serial);
  if (device?.userId !== user.id) {
    throw accessDenied(
      'MultiFactorAuthentication failed, unable to validate MFA code.  Please verify your MFA serial number is valid and associated with this user.',
    );
  }
  if (device.seed === undefined || !isCodeOf(Buffer.from(device.seed, 'base64'), code, now)) {
    throw accessDenied('MultiFactorAuthentication failed with invalid MFA one time pass code. ');
  }
  return true;
}

export const stsActions: Actions = {
  /** Needs no permission: whoever can sign may ask who he is. */
  GetCallerIdentity: {
    run: ({ caller }) => ({ UserId: caller.userId, Account: caller.account.id, Arn: caller.arn }),
  },

  AssumeRole: assumeRole,

  GetFederationToken: {
    run: (call) => {
      const { account, parameters } = call;
      const name = parameters.required('Name', rules.federatedName);
      const seconds = parameters.integer('DurationSeconds', 900, 129_600) ?? 43_200;
      const user = longTermUser(call);
      const arn = `arn:aws:sts::${account.id}:federated-user/${name}`;
      authorise(call.caller, 'sts:GetFederationToken', arn);
      if (parameters.tags().length > 0) authorise(call.caller, 'sts:TagSession', arn);
      const sessionPolicy = readSessionPolicy(call);
      const issued = issueSession(call, {
        account: account.id,
        kind: 'federated_user',
        principalId: user.id,
        name,
        seconds,
        ...sessionPolicy,
      });
      return {
        Credentials: credentialsXml(issued),
        FederatedUser: { FederatedUserId: `${account.id}:${name}`, Arn: arn },
        PackedPolicySize: sessionPolicy.packedPercent,
      };
    },
  },

  /** Needs no permission either. */
  GetSessionToken: {
    run: (call) => {
      const user = longTermUser(call);
      const withMfa = mfaOf(call, user);
      const issued = issueSession(call, {
        account: call.account.id,
        kind: 'user_session',
        principalId: user.id,
        name: '',
        seconds: call.parameters.integer('DurationSeconds', 900, 129_600) ?? 43_200,
        policyArns: [],
        ...(withMfa && { mfa: true }),
      });
      return { Credentials: credentialsXml(issued) };
    },
  },
};
