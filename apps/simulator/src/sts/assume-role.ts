import type { Action, Call } from '../action.js';
import { accessDenied, validationError } from '../aws-error.js';
import { authorise, isDenied, type Caller } from '../caller.js';
import type { Role } from '../entities.js';
import { rules } from '../parameters.js';
import { readPolicy } from '../policy-document.js';
import { applies, type Question } from '../policy-evaluation.js';
import { credentialsXml, issueSession, readSessionPolicy } from './session-credentials.js';

/** Both sides must agree: the role's trust policy, and the caller's own policies unless the trust names the caller itself. */
export const assumeRole: Action = {
  run: (call) => {
    const { caller, parameters } = call;
    const arn = parameters.required('RoleArn', rules.arn);
    const name = parameters.required('RoleSessionName', rules.sessionName);
    const seconds = parameters.integer('DurationSeconds', 900, 43_200) ?? 3_600;
    const sourceIdentity = parameters.optional('SourceIdentity', rules.sessionName);
    const externalId = parameters.optional('ExternalId', rules.externalId);
    const sessionPolicy = readSessionPolicy(call);
    const actions = ['sts:AssumeRole'];
    if (parameters.tags().length > 0) actions.push('sts:TagSession');
    if (sourceIdentity !== undefined) actions.push('sts:SetSourceIdentity');

    const { account, role } = findRole(call, arn);
    const context = { 'sts:externalid': externalId, 'sts:rolesessionname': name };
    for (const action of actions) agree(caller, role, { action, resource: arn, context });

    if (caller.session?.kind === 'assumed_role' && seconds > 3_600) {
      throw validationError(
        'The requested DurationSeconds exceeds the 1 hour session limit for roles assumed by role chaining.',
      );
    }
    if (seconds > role.maxSessionSeconds) {
      throw validationError('The requested DurationSeconds exceeds the MaxSessionDuration set for this role.');
    }
    const issued = issueSession(call, {
      account: account.id,
      kind: 'assumed_role',
      principalId: role.id,
      name,
      seconds,
      ...sessionPolicy,
    });
    return {
      Credentials: credentialsXml(issued),
      AssumedRoleUser: {
        AssumedRoleId: `${role.id}:${name}`,
        Arn: `arn:aws:sts::${account.id}:assumed-role/${role.name}/${name}`,
      },
      PackedPolicySize: sessionPolicy.packedPercent,
      SourceIdentity: sourceIdentity,
    };
  },
};

/** A role that is not there is refused in the same words as one that does not trust the caller. */
function findRole(call: Call, arn: string) {
  const [, accountId = '', path = '', name = ''] =
    /^arn:aws:iam::(\d{12}):role(\/(?:[\x21-\x7e]+\/)?)([\w+=,.@-]+)$/.exec(arn) ?? [];
  if (name === '') throw validationError(`${arn} is invalid`);
  const account = call.world.knownAccount(accountId);
  const role = account?.role(name);
  if (!account || role?.path !== path) throw refusal(call.caller, 'sts:AssumeRole', arn);
  return { account, role };
}

const refusal = (caller: Caller, action: string, arn: string) =>
  accessDenied(`User: ${caller.arn} is not authorized to perform: ${action} on resource: ${arn}`);

function agree(caller: Caller, role: Role, question: Question): void {
  const { action, resource } = question;
  const trust = trusts(caller, role, question);
  const sameAccount = resource.split(':')[4] === caller.account.id;
  if (trust === 'caller' && sameAccount && !isDenied(caller, action, resource)) return;
  authorise(caller, action, resource);
  if (trust === 'nobody') throw refusal(caller, action, resource);
}

/** Whom of the caller's names the trust policy lets in: the caller itself, or the account, which then decides with its policies. */
function trusts(caller: Caller, role: Role, question: Question): 'caller' | 'account' | 'nobody' {
  let trusted: 'caller' | 'account' | 'nobody' = 'nobody';
  for (const statement of readPolicy(role.trustPolicy, 'trust').statements) {
    if (!applies(statement, question)) continue;
    const found = nameAmong(statement.principals ?? [], caller);
    if (found === 'nobody') continue;
    if (!statement.allow) return 'nobody';
    if (trusted !== 'caller') trusted = found;
  }
  return trusted;
}

function nameAmong(principals: string[], caller: Caller): 'caller' | 'account' | 'nobody' {
  const names = [caller.arn];
  if (caller.session?.kind === 'assumed_role') {
    const role = caller.account.roles().find(({ id }) => id === caller.session?.principalId);
    if (role) names.push(caller.account.arn('role', role.path, role.name));
  }
  if (principals.some((principal) => names.includes(principal))) return 'caller';
  const { id } = caller.account;
  const accountNames = ['*', id, `arn:aws:iam::${id}:root`];
  return principals.some((principal) => accountNames.includes(principal)) ? 'account' : 'nobody';
}
