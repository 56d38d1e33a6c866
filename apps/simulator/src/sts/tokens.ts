import type { Actions, Call } from '../action.js';
import { accessDenied } from '../aws-error.js';
import { authorise } from '../caller.js';
import type { User } from '../entities.js';
import { rules } from '../parameters.js';
import { assumeRole } from './assume-role.js';
import { credentialsXml, issueSession, readSessionPolicy } from './session-credentials.js';

/** GetFederationToken and GetSessionToken ask for the long-term key of an IAM user. */
function longTermUser({ caller, action }: Call): User {
  if (caller.user && !caller.session) return caller.user;
  throw accessDenied(`Cannot call ${action} with session credentials`);
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
      const issued = issueSession(call, {
        account: call.account.id,
        kind: 'user_session',
        principalId: user.id,
        name: '',
        seconds: call.parameters.integer('DurationSeconds', 900, 129_600) ?? 43_200,
        policyArns: [],
      });
      return { Credentials: credentialsXml(issued) };
    },
  },
};
