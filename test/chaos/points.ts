import { eventually } from '../support/world.js';
import type { Held } from './callers.js';
import { type Change, Gate } from './gate.js';
import type { Direction } from './line.js';
import { briefSeconds, type Slot, type Victim } from './rig.js';
import { type Arm, type Deed, type Point, type Site, within } from './run.js';

const ours = `new.role_name in ('plain', 'wide')`;
const pools = `new.role_name = 'pooled'`;

/** The commits, by the change that is in them. */
const commits = {
  intent: { on: 'insert', when: `${ours} and new.attempt = 1` },
  secondIntent: { on: 'insert', when: `${ours} and new.attempt = 2` },
  failure: { on: 'update', when: `${ours} and old.state = 'issuing' and new.end_reason = 'issue_failed'` },
  offer: { on: 'update', when: `${ours} and new.state = 'offered' and old.state = 'issuing'` },
  acceptance: { on: 'update', when: `${ours} and new.state = 'active' and old.state = 'offered'` },
  renewal: { on: 'update', when: `${ours} and new.last_renewed_at is distinct from old.last_renewed_at` },
  request: {
    on: 'update',
    when: `${ours} and new.state = 'revoking' and old.state = 'active' and new.claim_id is null`,
  },
  claim: { on: 'update', when: `${ours} and new.claim_id is not null and new.claim_id is distinct from old.claim_id` },
  end: { on: 'update', when: `${ours} and new.state = 'ended' and old.state <> 'ended'` },
  events: { table: 'outbox', on: 'delete', when: `true` },
  keyClaimed: { table: 'idempotent_answers', on: 'insert', when: `true` },
  keyHeld: { table: 'idempotent_answers', on: 'update', when: `new.holders <> old.holders` },
  poolIntent: { on: 'insert', when: `${pools} and new.token_id is null` },
  poolFailure: { on: 'update', when: `${pools} and old.state = 'issuing' and new.end_reason = 'issue_failed'` },
  kept: { on: 'update', when: `${pools} and new.state = 'pooled'` },
  handOut: { on: 'update', when: `${pools} and new.state = 'offered' and old.state = 'pooled'` },
  handedOutAcceptance: { on: 'update', when: `${pools} and new.state = 'active' and old.state = 'offered'` },
  drained: { on: 'update', when: `${pools} and new.end_reason = 'outdated' and old.state = 'pooled'` },
  unmount: { table: 'mounts', on: 'update', when: `new.tainted_at is not null and old.tainted_at is null` },
} satisfies Record<string, Change>;

/** At a commit: it stands although nobody hears of it any more, or it is lost with who wanted it. */
function commit(change: Change, fate: 'stand' | 'lose'): Arm {
  return async ({ rig }) => {
    const gate = await Gate.before(rig.servers.databaseUrl, change);
    return { reached: gate.reached(20_000), letGo: () => gate[fate]() };
  };
}

/**
 * At a call to AWS: on its way, or with its effect done and its answer kept back. What was on its way arrives after its
 * sender's death: at once or, of what creates, just when the first roll-back has found nothing.
 */
function call(action: string, stage: 'before' | 'after'): Arm {
  return (site) => {
    const { rig } = site;
    const hold = rig.simulator.faults.hold(action, stage, { userName: 'vault-*' });
    const belated = stage === 'before' && action.startsWith('Create') && site.chance() < 0.5;
    return {
      reached: hold.reached,
      letGo: async () => {
        if (belated) await rolledBack(site).catch(() => undefined);
        hold.release();
      },
    };
  };
}

/** Waits until an attempt of this run was taken back: nothing was found, and what may yet arrive is still looked for. */
async function rolledBack({ rig, startedAt }: Site): Promise<void> {
  await eventually(
    async () => (await rig.rows()).some((row) => row.created_at >= startedAt && row.state === 'ended'),
    15_000,
  );
}

/** At a message between a service and broker or Redis: before it went on, or just after. */
function message(
  victim: Victim,
  line: 'broker' | 'redis',
  direction: Direction,
  stage: 'before' | 'after',
  matches: (text: string) => boolean,
): Arm {
  return ({ rig }) => {
    const caught = rig.of(victim).map((slot) => slot[line].waitFor(direction, stage, matches));
    return {
      reached: Promise.race(caught.map((each) => each.reached)),
      letGo: () => caught.forEach((each) => each.release()),
    };
  };
}

const isAnswer = (text: string) => text.startsWith('publish /');
const isEvent = (text: string) => /^publish .*\.events\//.test(text);
const isAlarm = (text: string) => text.includes('"leaseId":"') && !text.includes('metrics:completed');
const isAlarmDone = (text: string) => text.includes('metrics:completed');

const issue: Deed = ({ callers }) => callers.ask('aws/creds/plain');
const issueOnce: Deed = ({ callers }) => callers.askOnce('aws/creds/plain');
const issueOnceOverAmqp: Deed = ({ callers }) => callers.askOnceOverAmqp('aws/', 'plain');
const issueWide: Deed = ({ callers }) => callers.ask('aws/creds/wide');
const issueBrief: Deed = async (site) => {
  const held = await site.callers.ask('brief/creds/plain');
  if (held) expires(held);
};

/** It must be gone once its time is over: what comes to rest has no lease that is about to expire. */
function expires(held: Held): void {
  held.must = 'gone';
}

/** A lease is lent first; then something is cut while `deed` is done with it. */
function withLease(
  point: Omit<Point, 'run'>,
  arm: Arm,
  deed: (site: Site, held: Held) => Promise<unknown>,
  path = 'aws/creds/plain',
): Point {
  return {
    ...point,
    run: async (site) => {
      const held = await site.callers.lend(path);
      await site.cut(point.victim, arm, (at) => deed(at, held));
    },
  };
}

function simple(victim: Victim, name: string, arm: Arm, deed: Deed): Point {
  return { name, victim, run: (site) => site.cut(victim, arm, deed) };
}

/** Both fates of a commit, which are the two sides of it: what goes before it, and what comes after. */
function bothFates(change: Change, name: string, make: (name: string, arm: Arm) => Point): Point[] {
  return [
    make(`${name} | not committed`, commit(change, 'lose')),
    make(`${name} | committed`, commit(change, 'stand')),
  ];
}

function bothSides(action: string, of: string, make: (name: string, arm: Arm) => Point): Point[] {
  return [
    make(`${of}: ${action} sent | arrives`, call(action, 'before')),
    make(`${of}: ${action} done | answered`, call(action, 'after')),
  ];
}

/** The gateway knows whether the role has a pool, so that what is cut is the one command by which it asks then. */
const known = (point: Point): Point => ({
  ...point,
  run: async (site) => {
    await site.callers.lend('aws/creds/plain');
    await point.run(site);
  },
});

const renew = ({ callers }: Site, held: Held) => callers.renew(held, 7_200);
const revoke = ({ callers }: Site, held: Held) => callers.revoke(held, true);
const revokeLater = ({ callers }: Site, held: Held) => callers.revoke(held, false);

const isAcknowledgement = (text: string) => text === 'ack';

/** Where an issue can be cut; `deed` asks for a credential of a role with one inline policy. */
const issuingBy = (of: string, deed: Deed): Point[] => [
  simple('gateway', `${of}: asked | command sent`, message('gateway', 'broker', 'out', 'before', isCommand), deed),
  simple('gateway', `${of}: command sent | taken`, message('gateway', 'broker', 'out', 'after', isCommand), deed),
  simple('issuer', `${of}: command taken | read`, message('issuer', 'broker', 'in', 'before', isDelivery), deed),
  ...bothFates(commits.intent, `${of}: intent`, (name, arm) => simple('issuer', name, arm, deed)),
  ...['CreateUser', 'PutUserPolicy', 'CreateAccessKey'].flatMap((action) =>
    bothSides(action, of, (name, arm) => simple('issuer', name, arm, deed)),
  ),
  ...bothFates(commits.offer, `${of}: offer`, (name, arm) => simple('issuer', name, arm, deed)),
  simple('issuer', `${of}: offered | answer sent`, message('issuer', 'broker', 'out', 'before', isAnswer), deed),
  simple(
    'issuer',
    `${of}: answer sent | acknowledged`,
    message('issuer', 'broker', 'out', 'before', isAcknowledgement),
    deed,
  ),
  simple('issuer', `${of}: acknowledged | next`, message('issuer', 'broker', 'out', 'after', isAcknowledgement), deed),
  ...bothFates(commits.failure, `${of}: failed`, (name, arm) =>
    simple('issuer', name, arm, (site) => {
      site.rig.simulator.faults.fail({ action: 'PutUserPolicy', code: 'LimitExceeded', status: 409, times: 1 });
      return deed(site);
    }),
  ),
  ...bothFates(commits.secondIntent, `${of}: started over`, (name, arm) =>
    simple('issuer', name, arm, (site) => {
      site.rig.simulator.faults.loseReply({ action: 'CreateAccessKey', times: 1 });
      return deed(site);
    }),
  ),
  ...bothFates(commits.secondIntent, `${of}: delivered again`, (name, arm) => ({
    name,
    victim: 'issuer',
    run: async (site) => {
      const hold = site.rig.simulator.faults.hold('CreateAccessKey', 'after');
      await site.cut('issuer', arm, async (at) => {
        const asked = deed(at);
        await within(hold.reached, 10_000);
        const first = at.whoIs('issuer');
        await at.kill(first);
        hold.release();
        await Promise.all([asked, first.start()]);
      });
    },
  })),
];

const issuing: Point[] = [
  ...issuingBy('issue', issue).map(known),
  ...['AttachUserPolicy', 'AddUserToGroup'].flatMap((action) =>
    bothSides(action, 'issue', (name, arm) => simple('issuer', name, arm, issueWide)),
  ),
];

/** A caller who asks again under its idempotency key, whatever was cut, has one credential, and there is no other. */
const issuingOnce: Point[] = [
  ...bothFates(commits.keyClaimed, 'once: key claimed', (name, arm) => simple('issuer', name, arm, issueOnce)),
  ...issuingBy('once', issueOnce),
  simple('gateway', 'once: answer sent | read', message('gateway', 'broker', 'in', 'before', isDelivery), issueOnce),
  ...bothFates(commits.keyHeld, 'once: held', (name, arm) => simple('gateway', name, arm, issueOnce)),
  ...bothFates(commits.acceptance, 'once: acceptance', (name, arm) => simple('gateway', name, arm, issueOnce)),
  ...bothFates(commits.keyHeld, 'once: held over AMQP', (name, arm) => simple('issuer', name, arm, issueOnceOverAmqp)),
  ...bothFates(commits.acceptance, 'once: acceptance over AMQP', (name, arm) =>
    simple('issuer', name, arm, issueOnceOverAmqp),
  ),
];

function isCommand(text: string): boolean {
  return /^publish \/.*\.commands$/.test(text);
}

function isDelivery(text: string): boolean {
  return text === 'deliver';
}

/** A pool is made full first; then something is cut while `deed` is done with it. Afterwards it is taken away. */
function withPool(point: Omit<Point, 'run'>, size: number, arm: Arm, deed: Deed): Point {
  return {
    ...point,
    run: async (site) => {
      await site.rig.fillPool(size);
      await site.cut(point.victim, arm, deed);
      await site.rig.takePoolAway();
    },
  };
}

const fromPool: Deed = ({ callers }) => callers.ask('aws/creds/pooled');
const fromPoolOnce: Deed = ({ callers }) => callers.askOnce('aws/creds/pooled');
const fillsPool: Deed = ({ rig }) => rig.fillPool(1);

/** Somebody asks for a hand-out while no user of the pool is old enough, and goes on to an issue with the same command. */
function noneReady(victim: Victim, name: string, arm: Arm): Point {
  return {
    name: `none ready: ${name}`,
    victim,
    run: async (site) => {
      await site.rig.fillPool(2);
      await site.callers.lend('aws/creds/pooled');
      await site.rig.fillPool(2);
      await site.rig.database.query(`update leases set pooled_at = now() + interval '1 hour' where state = 'pooled'`);
      await site.cut(victim, arm, fromPool);
      await site.rig.takePoolAway();
    },
  };
}

/** Where the filling of a pool can be cut. */
const filling = (name: string, arm: Arm, deed: Deed = fillsPool): Point => ({
  name,
  victim: 'issuer',
  run: async (site) => {
    await site.cutWhoFills(arm, deed);
    await site.rig.takePoolAway();
  },
});

const pooling: Point[] = [
  ...bothFates(commits.poolIntent, 'pool: intent', filling),
  ...['CreateUser', 'PutUserPolicy', 'CreateAccessKey'].flatMap((action) => bothSides(action, 'pool', filling)),
  ...bothFates(commits.kept, 'pool: kept', filling),
  ...bothFates(commits.poolFailure, 'pool: failed', (name, arm) =>
    filling(name, arm, (site) => {
      site.rig.simulator.faults.fail({ action: 'PutUserPolicy', code: 'LimitExceeded', status: 409, times: 1 });
      return fillsPool(site);
    }),
  ),
  ...(
    [
      ['hand-out', fromPool],
      ['hand-out once', fromPoolOnce],
    ] as const
  ).flatMap(([of, deed]) => [
    ...bothFates(commits.handOut, `${of}: handed out`, (name, arm) =>
      withPool({ name, victim: 'issuer' }, 2, arm, deed),
    ),
    withPool(
      { name: `${of}: handed out | answer sent`, victim: 'issuer' },
      2,
      message('issuer', 'broker', 'out', 'before', isAnswer),
      deed,
    ),
    withPool(
      { name: `${of}: answer sent | acknowledged`, victim: 'issuer' },
      2,
      message('issuer', 'broker', 'out', 'before', isAcknowledgement),
      deed,
    ),
    withPool(
      { name: `${of}: answer sent | read`, victim: 'gateway' },
      2,
      message('gateway', 'broker', 'in', 'before', isDelivery),
      deed,
    ),
    ...bothFates(commits.handedOutAcceptance, `${of}: acceptance`, (name, arm) =>
      withPool({ name, victim: 'gateway' }, 2, arm, deed),
    ),
  ]),
  noneReady('issuer', 'told | acknowledged', message('issuer', 'broker', 'out', 'before', isAcknowledgement)),
  noneReady('gateway', 'told | read', message('gateway', 'broker', 'in', 'before', isDelivery)),
  noneReady('gateway', 'told | issue sent', message('gateway', 'broker', 'out', 'before', isCommand)),
  ...bothFates(commits.drained, 'pool: drained', (name, arm) => ({
    name,
    victim: 'issuer',
    run: async (site) => {
      await site.rig.fillPool(2);
      await site.cutWhoFills(arm, ({ rig }) =>
        rig.fillPool(2, { default_user_ttl: 3_600 + Math.floor(site.chance() * 1e6) }),
      );
      await site.rig.takePoolAway();
    },
  })),
];

const accepting: Point[] = [
  known(
    simple('gateway', 'accept: answer sent | read', message('gateway', 'broker', 'in', 'before', isDelivery), issue),
  ),
  ...bothFates(commits.acceptance, 'accept: acceptance', (name, arm) => simple('gateway', name, arm, issue)),
  ...bothFates(commits.acceptance, 'accept: acceptance over AMQP', (name, arm) =>
    simple('issuer', name, arm, ({ callers }) => callers.askOverAmqp('aws/', 'plain')),
  ),
  simple('gateway', 'accept: accepted | alarm set', message('gateway', 'redis', 'out', 'before', isAlarm), issueBrief),
  simple(
    'gateway',
    'accept: alarm set | handed over',
    message('gateway', 'redis', 'out', 'after', isAlarm),
    issueBrief,
  ),
];

/** What an internal service asks of a lease that it holds is a command, answered and acknowledged like any. */
function overAmqp(of: string, change: Change, deed: (site: Site, held: Held) => Promise<unknown>): Point[] {
  const withOne = (name: string, arm: Arm) => withLease({ name, victim: 'issuer' }, arm, deed);
  return [
    withOne(`${of} over AMQP: command taken | read`, message('issuer', 'broker', 'in', 'before', isDelivery)),
    ...bothFates(change, `${of} over AMQP: stored`, withOne),
    withOne(`${of} over AMQP: stored | answer sent`, message('issuer', 'broker', 'out', 'before', isAnswer)),
    withOne(
      `${of} over AMQP: answer sent | acknowledged`,
      message('issuer', 'broker', 'out', 'before', isAcknowledgement),
    ),
  ];
}

const renewing: Point[] = [
  ...overAmqp('renew', commits.renewal, ({ callers }, held) => callers.renewOverAmqp(held, 7_200)),
  ...bothFates(commits.renewal, 'renew: renewal', (name, arm) => withLease({ name, victim: 'gateway' }, arm, renew)),
  // Shortened to less than the horizon, it gets an alarm; the lease must expire without it.
  withLease(
    { name: 'renew: renewed | alarm set', victim: 'gateway' },
    message('gateway', 'redis', 'out', 'before', isAlarm),
    async ({ callers }, held) => {
      held.must = 'gone';
      await callers.renew(held, briefSeconds);
    },
  ),
];

const revoking: Point[] = [
  ...overAmqp('revoke', commits.request, ({ callers }, held) => callers.revokeOverAmqp(held)),
  ...bothFates(commits.request, 'revoke: request', (name, arm) => withLease({ name, victim: 'gateway' }, arm, revoke)),
  ...bothFates(commits.request, 'revoke: request without a wait', (name, arm) =>
    withLease({ name, victim: 'gateway' }, arm, revokeLater),
  ),
  withLease(
    { name: 'revoke: requested | alarm set', victim: 'gateway' },
    message('gateway', 'redis', 'out', 'before', isAlarm),
    revokeLater,
  ),
  withLease(
    { name: 'revoke: alarm set | answered', victim: 'gateway' },
    message('gateway', 'redis', 'out', 'after', isAlarm),
    revoke,
  ),
  ...bothFates(commits.claim, 'revoke: claim', (name, arm) => withLease({ name, victim: 'revoker' }, arm, revoke)),
  ...['DeleteAccessKey', 'DeleteUserPolicy', 'DeleteUser'].flatMap((action) =>
    bothSides(action, 'revoke', (name, arm) => withLease({ name, victim: 'revoker' }, arm, revoke)),
  ),
  ...['DetachUserPolicy', 'RemoveUserFromGroup'].flatMap((action) =>
    bothSides(action, 'revoke', (name, arm) =>
      withLease({ name, victim: 'revoker' }, arm, revokeLater, 'aws/creds/wide'),
    ),
  ),
  ...bothFates(commits.end, 'revoke: end', (name, arm) => withLease({ name, victim: 'revoker' }, arm, revoke)),
  withLease(
    { name: 'revoke: ended | alarm done', victim: 'revoker' },
    message('revoker', 'redis', 'out', 'before', isAlarmDone),
    revoke,
  ),
  {
    name: 'revoke: a prefix, half of it gone',
    victim: 'revoker',
    run: async (site) => {
      const all = await Promise.all(Array.from({ length: 6 }, () => site.callers.lend('aws/creds/plain')));
      const hold = site.rig.simulator.faults.hold('DeleteUser', 'before', { times: 3 });
      const arm: Arm = () => ({ reached: hold.reached, letGo: () => hold.release() });
      await site.cut('revoker', arm, async ({ rig, gateway }) => {
        for (const held of all) held.must = 'either';
        const { status } = await rig.ask(gateway, 'PUT', 'sys/leases/revoke-prefix/aws/creds/plain', {});
        if (status === 204 || status === 202) for (const held of all) held.must = 'gone';
      });
    },
  },
  ...bothFates(commits.unmount, 'unmount: mark', unmounting),
  unmounting('unmount: marked | leases moved', commit(commits.request, 'lose')),
];

/** A mount of its own is taken down; whatever was stored of that, its lease ends. */
function unmounting(name: string, arm: Arm): Point {
  return {
    name,
    victim: 'gateway',
    run: async (site) => {
      const path = `mount-${Math.floor(site.chance() * 1e9)}`;
      await site.rig.mount(path);
      const held = await site.callers.lend(`${path}/creds/plain`);
      await site.cut('gateway', arm, async ({ rig, gateway }) => {
        held.must = 'either';
        await rig.ask(gateway, 'DELETE', `sys/mounts/${path}`);
      });
      // One that is marked goes by itself; else the operator asks again.
      const { rows } = await site.rig.database.query('select tainted_at from mounts where path = $1', [`${path}/`]);
      held.must = 'gone';
      if (!rows[0].tainted_at) await site.rig.ask(site.gateway, 'DELETE', `sys/mounts/${path}`);
    },
  };
}

const expiring: Point[] = [
  simple(
    'revoker',
    'expire: due | alarm set by the sweep',
    message('revoker', 'redis', 'out', 'before', isAlarm),
    issueBrief,
  ),
  ...bothFates(commits.claim, 'expire: claim', (name, arm) => simple('revoker', name, arm, issueBrief)),
  ...bothFates(commits.end, 'expire: end', (name, arm) => simple('revoker', name, arm, issueBrief)),
];

const telling: Point[] = [
  simple('revoker', 'events: taken | sent', message('revoker', 'broker', 'out', 'before', isEvent), issue),
  simple(
    'revoker',
    'events: sent | confirmed',
    message('revoker', 'broker', 'in', 'before', (text) => text === 'ack'),
    issue,
  ),
  ...bothFates(commits.events, 'events: outbox', (name, arm) => simple('revoker', name, arm, issue)),
];

/** A paused issuer wakes up after its intent was taken back, its call arrives, and then it dies. */
function paused(action: string): Point {
  return {
    name: `paused: ${action} sent | arrives too late`,
    victim: 'issuer',
    run: async (site) => {
      const { faults } = site.rig.simulator;
      const onItsWay = faults.hold(action, 'before');
      const asked = issue(site);
      await within(onItsWay.reached, 15_000);
      const slot = site.whoIs('issuer');
      await whilePaused(slot, () => rolledBack(site));
      const done = faults.hold(action, 'after');
      onItsWay.release();
      await within(done.reached, 5_000);
      await site.kill(slot);
      done.release();
      await Promise.all([asked, slot.start()]);
    },
  };
}

/** A paused issuer wakes up after its intent was taken back, and must not begin its next call. */
function fenced(after: string, next: string, arm: Arm): Point {
  return {
    name: `paused: ${after} | ${next} must not leave`,
    victim: 'issuer',
    run: async (site) => {
      const { rig } = site;
      const armed = await arm(site);
      const asked = issue(site);
      await within(armed.reached, 20_000);
      const slot = site.whoIs('issuer');
      await whilePaused(slot, async () => {
        await armed.letGo();
        await rolledBack(site);
      });
      const { id, user_name: userName } = (await rig.rows()).find((row) => row.created_at >= site.startedAt)!;
      const woken = (line: string) => line.includes('issue failed') && line.includes(id);
      const calls = () => rig.simulator.calls.count({ action: next, userName: userName! });
      await eventually(() => calls() > 0 || slot.service.said.split('\n').some(woken));
      await site.kill(slot);
      if (calls() > 0) site.callers.ledger.wrong.push(`${next} was called after the intent was taken back`);
      await Promise.all([asked, slot.start()]);
    },
  };
}

/** A service stands still meanwhile, and goes on whatever happens. */
async function whilePaused(slot: Slot, during: () => Promise<void>): Promise<void> {
  slot.service.signal('SIGSTOP');
  try {
    await during();
  } finally {
    slot.service.signal('SIGCONT');
  }
}

const pausing: Point[] = [
  ...['CreateUser', 'PutUserPolicy', 'CreateAccessKey'].map(paused),
  fenced('intent', 'CreateUser', commit(commits.intent, 'stand')),
  fenced('CreateUser', 'CreateAccessKey', call('CreateUser', 'after')),
];

/** Callers that do all there is to do, while services die at any instant. */
function underLoad(victim: Victim): Point {
  return {
    name: `at random under load: ${victim}`,
    victim,
    run: async (site) => {
      let stopped = false;
      await site.rig.fillPool(4);
      const callers = Array.from({ length: 4 }, () => live(site, () => stopped));
      try {
        for (let kills = 0; kills < 3; kills += 1) {
          await new Promise((resolve) => setTimeout(resolve, 300 + site.chance() * 1_200));
          const slot: Slot = victim === 'gateway' ? site.gateway : site.pick(site.rig.of(victim));
          await site.kill(slot);
          await slot.start();
        }
      } finally {
        stopped = true;
        await Promise.all(callers);
        await site.rig.takePoolAway();
      }
    },
  };
}

async function live({ callers, chance }: Site, stopped: () => boolean): Promise<void> {
  while (!stopped()) {
    const held = await callers.ask(chance() < 0.5 ? 'aws/creds/plain' : 'aws/creds/pooled');
    if (!held) {
      await new Promise((resolve) => setTimeout(resolve, 50));
      continue;
    }
    if (chance() < 0.3) await callers.use(held);
    if (chance() < 0.5) await callers.renew(held, 600 + Math.floor(chance() * 1_200));
    if (chance() < 0.7) await callers.revoke(held, chance() < 0.5);
  }
}

/** Every two neighbouring effects, in the order of a lease's life; then the pauses, and what chance finds. */
export const points: Point[] = [
  ...issuing,
  ...issuingOnce,
  ...accepting,
  ...pooling,
  ...renewing,
  ...revoking,
  ...expiring,
  ...telling,
  ...pausing,
  ...(['gateway', 'issuer', 'revoker'] as const).map(underLoad),
];
