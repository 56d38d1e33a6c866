import type { Account } from './account.js';
import { accessDenied, AwsError, invalidToken } from './aws-error.js';
import { awsManagedPolicy, isAwsManaged } from './aws-managed-policies.js';
import type { PolicyHolder, User } from './entities.js';
import { readPolicy, type Policy } from './policy-document.js';
import { ask, type Question } from './policy-evaluation.js';
import { openSession, sessionSecret, type Session } from './session-token.js';
import { readSignature, verifySignature, type SignedRequest } from './sigv4.js';
import type { World } from './world.js';

/** Who signed a call. */
export interface Caller {
  account: Account;
  accessKeyId: string;
  /** As GetCallerIdentity and refusals name it. */
  arn: string;
  userId: string;
  /** The IAM user whose own key it is, or in whose name GetSessionToken and GetFederationToken were called. */
  user?: User;
  holder: PolicyHolder;
  /** Unset: a user's own, long-term key. */
  session?: Session;
}

/**
 * Finds the caller and checks the signature.
 * @throws AwsError InvalidClientTokenId, ExpiredToken, SignatureDoesNotMatch and their kin, as AWS answers them.
 */
export function authenticate(world: World, request: SignedRequest, service: 'iam' | 'sts'): Caller {
  const signature = readSignature(request.headers);
  const now = world.faults.now();
  const token = request.headers['x-amz-security-token'];
  if (typeof token === 'string') {
    const session = openSession(world.journal.sealingKey, token);
    if (session?.accessKeyId !== signature.accessKeyId) throw invalidToken();
    const secret = sessionSecret(world.journal.sealingKey, session.accessKeyId);
    verifySignature(signature, request, service, secret, now);
    if (session.expiresAt <= now) {
      throw new AwsError('ExpiredToken', 'The security token included in the request is expired', 403);
    }
    return sessionCaller(world, session);
  }
  const known = world.keyHolder(signature.accessKeyId);
  if (!known) throw invalidToken();
  const { account, user, key } = known;
  verifySignature(signature, request, service, key.secret, now);
  if (!key.active || !world.faults.knows(key)) throw invalidToken();
  key.lastUsed = { at: now, service, region: signature.scope.region };
  return {
    account,
    accessKeyId: key.id,
    arn: account.arn('user', user.path, user.name),
    userId: user.id,
    user,
    holder: user,
  };
}

function sessionCaller(world: World, session: Session): Caller {
  const account = world.account(session.account);
  const { accessKeyId, principalId, name } = session;
  if (session.kind === 'assumed_role') {
    const role = account.roles().find(({ id }) => id === principalId);
    if (!role) throw invalidToken();
    const arn = `arn:aws:sts::${account.id}:assumed-role/${role.name}/${name}`;
    return { account, accessKeyId, arn, userId: `${role.id}:${name}`, holder: role, session };
  }
  const user = account.userById(principalId);
  if (!user) throw invalidToken();
  if (session.kind === 'user_session') {
    const arn = account.arn('user', user.path, user.name);
    return { account, accessKeyId, arn, userId: user.id, user, holder: user, session };
  }
  const arn = `arn:aws:sts::${account.id}:federated-user/${name}`;
  return { account, accessKeyId, arn, userId: `${account.id}:${name}`, user, holder: user, session };
}

/**
 * Asks the caller's policies: an explicit deny anywhere refuses; identity policies, permissions boundary and session
 * policies must each allow.
 * @throws AwsError AccessDenied in AWS's words.
 */
export function authorise(caller: Caller, action: string, resource: string, context: Question['context'] = {}): void {
  const question = { action, resource, context: { ...callerContext(caller), ...context } };
  const layers = policyLayers(caller);
  const refusal = `User: ${caller.arn} is not authorized to perform: ${action} on resource: ${resource}`;
  const verdicts = layers.map(({ policies }) => ask(policies, question));
  const denying = layers[verdicts.indexOf('deny')];
  if (denying) throw accessDenied(`${refusal} with an explicit deny in ${denying.article} ${denying.name}`);
  const silent = layers[verdicts.indexOf('silent')];
  if (silent) throw accessDenied(`${refusal} because no ${silent.name} allows the ${action} action`);
}

/** True when some policy of the caller denies it; a trust policy that names the caller itself needs no more than that. */
export function isDenied(caller: Caller, action: string, resource: string): boolean {
  const question = { action, resource, context: callerContext(caller) };
  return policyLayers(caller).some(({ policies }) => ask(policies, question) === 'deny');
}

interface Layer {
  article: 'an' | 'a';
  name: string;
  policies: Policy[];
}

function policyLayers({ account, holder, user, session }: Caller): Layer[] {
  const identity = policiesOf(account, holder);
  for (const group of user?.groups ?? []) identity.push(...policiesOf(account, account.existingGroup(group)));
  const layers: Layer[] = [{ article: 'an', name: 'identity-based policy', policies: identity }];
  if (user?.boundary !== undefined) {
    layers.push({ article: 'a', name: 'permissions boundary', policies: [managedPolicy(account, user.boundary)] });
  }
  if (!session || session.kind === 'user_session') return layers;
  const { policy, policyArns, kind } = session;
  const policies = policyArns.map((arn) => managedPolicy(account, arn));
  if (policy !== undefined) policies.push(readPolicy(policy));
  // Without a session policy a role's session has all that the role has, a federated user nothing.
  if (policies.length > 0 || kind === 'federated_user') layers.push({ article: 'a', name: 'session policy', policies });
  return layers;
}

const policiesOf = (account: Account, holder: PolicyHolder): Policy[] => [
  ...holder.inlinePolicies.map(({ document }) => readPolicy(document)),
  ...holder.attachedPolicies.map((arn) => managedPolicy(account, arn)),
];

function managedPolicy(account: Account, arn: string): Policy {
  if (isAwsManaged(arn)) return awsManagedPolicy(arn);
  const document = account.policyDocument(arn);
  return document === undefined ? { statements: [] } : readPolicy(document);
}

const callerContext = (caller: Caller): Question['context'] => ({
  'aws:username': caller.session?.kind === 'federated_user' ? undefined : caller.user?.name,
  'aws:userid': caller.userId,
  'aws:principalarn': caller.arn,
  'aws:principalaccount': caller.account.id,
});
