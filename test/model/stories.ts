import type { LeaseWorld } from './lease-world.js';

/** What happens in a story, in its order: `all` lets everything go on but what is kept. */
interface Hand {
  all(): Promise<void>;
  /** Lets everything go on until only these stand still, and keeps those where they are. */
  allBut(pattern: RegExp): Promise<void>;
  /** What was kept may go on. */
  letGo(pattern: RegExp): void;
}

/** A case without chance: each is the shortest way to something that the model, or somebody, once got wrong. */
export interface Story {
  name: string;
  /** Of the role that is lent; none, unless it is given. */
  poolSize?: number;
  tell(world: LeaseWorld, hand: Hand): Promise<void>;
}

const createUser = /calls CreateUser/;
const ofRevoker1 = /^revoker 1 calls/;
const ofRevoker2 = /^revoker 2 calls/;

/** The first caller has its credential, made by the first issuer. */
async function lend(world: LeaseWorld, hand: Hand): Promise<void> {
  world.callers.issue(0, 0);
  await hand.all();
}

/** The pool has a user, old enough to be handed out. */
async function fill(world: LeaseWorld, hand: Hand): Promise<void> {
  world.fillPool(0, null);
  await hand.all();
  await world.leap(70, true);
}

export const stories: Story[] = [
  {
    name: 'a call arrives from an issuer that is dead, after its intent was taken back',
    async tell(world, hand) {
      world.callers.issue(0, 0);
      await hand.allBut(createUser);
      await world.standStill('issuer', 0, 400, [0, true]);
      hand.letGo(createUser);
    },
  },
  {
    name: 'a call that nobody waits for any more arrives after its lease has ended',
    async tell(world, hand) {
      world.callers.issue(0, 0);
      await hand.allBut(createUser);
      await world.leap(12, false);
      await hand.all();
      world.callers.revoke(0, 0, false, null);
      await hand.all();
      world.sweep(0, null);
      await hand.all();
      hand.letGo(createUser);
    },
  },
  {
    name: 'an issuer comes late, and AWS does not know yet what it made',
    async tell(world, hand) {
      world.callers.issue(0, 0);
      await hand.allBut(createUser);
      await world.leap(400, true);
      hand.letGo(createUser);
      await hand.all();
      world.lag(6);
      world.sweep(0, null);
    },
  },
  {
    name: 'an issuer wakes up after its intent was taken back, and dies',
    async tell(world, hand) {
      world.callers.issue(0, 0);
      await hand.allBut(createUser);
      await world.standStill('issuer', 0, 400, [3, false]);
      hand.letGo(createUser);
    },
  },
  {
    name: 'a caller leaves while its credential is made',
    async tell(world, hand) {
      world.callers.issue(0, 0);
      await hand.allBut(createUser);
      world.callers.withdraw(0, 1);
      await hand.all();
      hand.letGo(createUser);
    },
  },
  {
    name: 'AWS does not know a user that it made a moment ago',
    async tell(world, hand) {
      await lend(world, hand);
      world.lag(6);
      world.callers.hangUp(0, 1);
      await hand.all();
      world.sweep(0, null);
    },
  },
  {
    name: 'a revoker finishes what another one has claimed since',
    async tell(world, hand) {
      await lend(world, hand);
      world.callers.revoke(0, 1, false, null);
      await hand.all();
      world.sweep(0, null);
      await hand.allBut(ofRevoker1);
      await world.leap(18, true);
      world.sweep(1, null);
      await hand.allBut(ofRevoker2);
      hand.letGo(ofRevoker1);
      await hand.all();
      hand.letGo(ofRevoker2);
    },
  },
  {
    name: 'a lease that is being taken back is renewed',
    async tell(world, hand) {
      await lend(world, hand);
      world.callers.hangUp(0, 1);
      await hand.all();
      world.callers.renew(0, 1, 30);
    },
  },
  {
    name: 'whoever unmounts dies between the end of the mount and that of its leases',
    async tell(world, hand) {
      await lend(world, hand);
      world.callers.unmount(1, [1, false]);
    },
  },
  {
    name: 'a credential is accepted too late',
    async tell(world, hand) {
      world.callers.issue(0, 0);
      await hand.allBut(/with accepted/);
      await world.leap(18, true);
      hand.letGo(/with accepted/);
    },
  },
  {
    name: 'what is made has been taken back when it is offered',
    async tell(world, hand) {
      world.callers.issue(0, 0);
      await hand.allBut(/with offered/);
      world.callers.revokeAll(1, false, null);
      await hand.all();
      world.sweep(0, null);
      await hand.allBut(ofRevoker1);
      hand.letGo(/with offered/);
      await hand.all();
      hand.letGo(ofRevoker1);
    },
  },
  {
    name: 'the answer to CreateAccessKey is lost',
    async tell(world, hand) {
      world.fault('CreateAccessKey', 'lost', 1);
      await lend(world, hand);
    },
  },
  {
    name: 'a revoker looks for what is due, and nothing is',
    async tell(world, hand) {
      await lend(world, hand);
      world.sweep(0, null);
    },
  },
  {
    name: 'the end of a lease is asked for again while somebody is at work on it',
    async tell(world, hand) {
      await lend(world, hand);
      world.callers.revoke(0, 1, false, null);
      await hand.all();
      world.sweep(0, null);
      await hand.allBut(ofRevoker1);
      world.callers.revoke(0, 1, false, null);
      await hand.all();
      hand.letGo(ofRevoker1);
    },
  },
  {
    name: 'a revoker keeps house while a mount is ended',
    async tell(world, hand) {
      await lend(world, hand);
      world.callers.unmount(1, null);
      await hand.allBut(/with found/);
      world.keepHouse(0);
      await hand.all();
      hand.letGo(/with found/);
    },
  },
  {
    name: 'pooled users are handed out at two issuers at once, to the same command',
    poolSize: 2,
    async tell(world, hand) {
      await fill(world, hand);
      await fill(world, hand);
      world.callers.issue(0, 0);
      world.callers.deliverAgain(0, 1, 1);
      await hand.all();
      await world.leap(18, true);
    },
  },
  {
    name: 'an issuer dies with a call for a pool on its way, and it arrives after its intent was taken back',
    poolSize: 1,
    async tell(world, hand) {
      world.fillPool(0, null);
      await hand.allBut(createUser);
      await world.standStill('issuer', 0, 400, [0, true]);
      hand.letGo(createUser);
    },
  },
  {
    name: 'a role is written while one of its pooled users is handed out, and another is made',
    poolSize: 2,
    async tell(world, hand) {
      await fill(world, hand);
      world.fillPool(1, null);
      await hand.allBut(/calls CreateAccessKey/);
      world.callers.issue(0, 0);
      await hand.allBut(/with asked as \( select \$3/);
      world.writeRole(1, 3);
      await hand.all();
      world.drainPool(1);
      hand.letGo(/./);
      await hand.all();
    },
  },
  {
    name: 'a lease, shortened to a minute, expires before the next look at what a dead issuer left',
    async tell(world, hand) {
      await lend(world, hand);
      world.callers.renew(0, 0, 1);
      await hand.all();
      world.callers.issue(1, 1);
      await hand.allBut(/calls CreateAccessKey/);
      world.crash('issuer', 1, false);
    },
  },
];

/** What stands at a gate, in the order in which it came there. */
interface Standing {
  name: string;
  kept: boolean;
  open: () => void;
}

/** The hand that a story is told by: it takes the place of chance. */
export class Script implements Hand {
  private standing: Standing[] = [];

  constructor(private readonly world: LeaseWorld) {}

  /** As fast-check's scheduler does it. */
  schedule<T>(task: Promise<T>, name: string): Promise<T> {
    return new Promise((open) => this.standing.push({ name, kept: false, open: () => open(task) }));
  }

  async all(): Promise<void> {
    await this.allBut(null);
  }

  async allBut(pattern: RegExp | null): Promise<void> {
    for (;;) {
      await this.world.stands(this);
      for (const each of this.standing) each.kept ||= pattern?.test(each.name) ?? false;
      const next = this.standing.find((each) => !each.kept);
      if (!next) return;
      this.standing.splice(this.standing.indexOf(next), 1);
      next.open();
    }
  }

  letGo(pattern: RegExp): void {
    for (const each of this.standing) if (pattern.test(each.name)) each.kept = false;
  }
}
