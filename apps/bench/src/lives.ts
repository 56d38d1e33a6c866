import { RequestFailed } from './client.js';
import { leaseIdIn } from './operations.js';
import type { LoggedCall } from '../../simulator/src/index.js';
import { peerCalls } from './peer.js';
import type { Section } from './report.js';
import type { Rig } from './rig.js';
import { type Account, lentPolicy } from './simulated-aws.js';

/** Slow enough that calls in one step are seen to overlap. */
const awsMs = 40;

/** What a lease costs in calls, and how many of them must follow one another. */
export interface Life {
  shape: string;
  issue: { calls: number; steps: number };
  revoke: { calls: number; steps: number };
}

const managed = (name: string) => `arn:aws:iam::aws:policy/${name}`;

const shapesOf = ({ role, group }: Account): Record<string, object> => {
  const user = { credential_type: 'iam_user' };
  const inline = { policy_document: lentPolicy };
  const two = { policy_arns: [managed('AmazonEC2ReadOnlyAccess'), managed('AmazonS3ReadOnlyAccess')] };
  const one = { policy_arns: [managed('AmazonEC2ReadOnlyAccess')] };
  return {
    'inline policy': { ...user, ...inline },
    'managed policy': { ...user, ...one },
    group: { ...user, iam_groups: [group] },
    'inline, boundary': { ...user, ...inline, permissions_boundary_arn: managed('AmazonEC2FullAccess') },
    'managed, inline and tags': { ...user, ...inline, ...one, iam_tags: { team: 'bench' } },
    'two managed, inline, group, tags': {
      ...user,
      ...inline,
      ...two,
      iam_groups: [group],
      iam_tags: { team: 'bench' },
    },
    'assumed role': { credential_type: 'assumed_role', role_arns: [role] },
    'federation token': { credential_type: 'federation_token', ...inline },
    'session token': { credential_type: 'session_token' },
  };
};

/** Calls in steps: a call belongs to a new step when it began after everything before it had ended. */
export function stepsAmong(calls: Pick<LoggedCall, 'startedAtMs' | 'endedAtMs'>[]): number {
  let [steps, endsAt] = [0, -Infinity];
  for (const call of calls.toSorted((a, b) => a.startedAtMs - b.startedAtMs)) {
    if (call.startedAtMs >= endsAt) steps += 1;
    endsAt = Math.max(endsAt, call.endedAtMs);
  }
  return steps;
}

/** Counts the calls to AWS in the life of one lease, for each shape of role that the system takes. */
export async function callsOfLives(rig: Rig, accountNumber: number): Promise<Life[]> {
  const mounted = await rig.mount(accountNumber);
  const { client, aws } = rig;
  let last = 0;
  const sinceLast = async () => {
    const calls = (await aws.calls({ account: mounted.account.id })).filter(({ sequence }) => sequence > last);
    last = Math.max(last, ...calls.map(({ sequence }) => sequence));
    return { calls: calls.length, steps: stepsAmong(calls) };
  };
  const liveOnce = async (shape: string, role: string): Promise<Life> => {
    await sinceLast();
    const lease_id = leaseIdIn(await client.call('GET', `${mounted.path}/creds/${role}`));
    const issue = await sinceLast();
    await client.call('PUT', 'sys/leases/revoke', { lease_id, sync: true });
    return { shape, issue, revoke: await sinceLast() };
  };
  await aws.setLatency(awsMs);
  const lives: Life[] = [];
  for (const [index, [shape, definition]] of Object.entries(shapesOf(mounted.account)).entries()) {
    const role = `life-${index}`;
    try {
      await mounted.write(`roles/${role}`, definition);
    } catch (error) {
      // A system that does not know such roles.
      if (error instanceof RequestFailed && error.outcome === '400') continue;
      throw error;
    }
    // Who the root is and how many users there are is asked now and then, and counts for no lease: the least of three is one's own.
    const tried = [await liveOnce(shape, role), await liveOnce(shape, role), await liveOnce(shape, role)];
    lives.push(tried.toSorted((a, b) => lengthOf(a) - lengthOf(b))[0]!);
  }
  return lives;
}

const lengthOf = ({ issue, revoke }: Life) => issue.calls + revoke.calls;

export function livesSection(system: string, lives: Life[]): Section {
  return {
    title: `Calls to AWS in a lease's life: ${system}`,
    head: ['role', 'issue', 'in a row', 'revoke', 'in a row', 'life', 'peer'],
    rows: lives.map(({ shape, issue, revoke }) => [
      shape,
      ...[issue.calls, issue.steps, revoke.calls, revoke.steps, issue.calls + revoke.calls].map(String),
      peerCalls[shape]?.toString() ?? '–',
    ]),
    note: 'In a row: calls that must wait for one another. STS credentials end by themselves.',
  };
}
