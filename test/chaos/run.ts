import { eventually } from '../support/world.js';
import { Callers, type Held, Ledger } from './callers.js';
import { leftOver, unexplained } from './invariants.js';
import type { Rig, Slot, Victim } from './rig.js';

/** What a caller does while something is cut. */
export type Deed = (site: Site) => Promise<unknown>;

/** A trigger, armed: says when the instant has come, and lets go what it has stopped, once the victim is dead. */
export interface Armed {
  reached: Promise<unknown>;
  letGo(): Promise<void> | void;
}

export type Arm = (site: Site) => Promise<Armed> | Armed;

/** Where a service dies: between two neighbouring effects, found from outside. */
export interface Point {
  /** `issue: CreateUser | its answer`. */
  name: string;
  victim: Victim;
  run(site: Site): Promise<void>;
}

/** How one run of a point went. */
export interface Outcome {
  killed: number;
  left: string[];
  ms: number;
}

/** A generator that gives the same numbers, from 0 up to 1, for the same seed (mulberry32). */
export function seeded(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}

/** One run of one point: its callers, its chance, and what it kills. */
export class Site {
  killed = 0;
  /** By this machine's clock, which is PostgreSQL's too. */
  readonly startedAt = new Date();
  /** The gateway that the callers ask; where a gateway is to die, it is this one. */
  readonly gateway: Slot;
  readonly callers: Callers;

  constructor(
    readonly rig: Rig,
    readonly chance: () => number,
    kept: Held[],
  ) {
    this.gateway = this.pick(rig.of('gateway'));
    const ledger = new Ledger();
    ledger.held.push(...kept);
    this.callers = new Callers(rig, ledger, () => this.gateway);
  }

  pick<T>(of: T[]): T {
    return of[Math.floor(this.chance() * of.length)]!;
  }

  /** Who is at it: the gateway that was asked, the issuer that was given the last command, the revoker. */
  whoIs(victim: Victim): Slot {
    if (victim === 'gateway') return this.gateway;
    return this.rig.of(victim).toSorted((a, b) => b.deliveredAt - a.deliveredAt)[0]!;
  }

  async kill(slot: Slot): Promise<void> {
    await slot.kill();
    this.killed += 1;
    this.callers.ledger.wrong.push(...(await unexplained(this.rig)));
  }

  /** As `cut`, of all issuers, one of which stands at the trigger: nobody asked it for anything. */
  cutWhoFills(arm: Arm, deed: Deed): Promise<void> {
    return this.cut('issuer', arm, deed, this.rig.of('issuer'));
  }

  /**
   * The deed is begun, and who is at it dies where the trigger says.
   * @param slots who dies; by default the one that is at it.
   */
  async cut(victim: Victim, arm: Arm, deed: Deed, slots?: Slot[]): Promise<void> {
    const armed = await arm(this);
    const done = deed(this);
    done.catch(() => undefined); // awaited below, whatever else fails before
    const letGo = once(() => armed.letGo());
    try {
      await within(armed.reached, 20_000);
      const dying = slots ?? [this.whoIs(victim)];
      for (const slot of dying) await this.kill(slot);
      await letGo();
      for (const { id, state } of await this.rig.rows()) {
        if (['revoking', 'irrevocable', 'ended'].includes(state)) this.callers.ledger.stored.add(id);
      }
      await Promise.all(dying.map((slot) => slot.start()));
    } finally {
      await letGo();
    }
    await done;
  }
}

function once(act: () => Promise<void> | void): () => Promise<void> {
  let acting: Promise<void> | null = null;
  return () => (acting ??= Promise.resolve(act()));
}

export async function within(reached: Promise<unknown>, ms: number): Promise<void> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new Error('the point was never reached')), ms);
  });
  await Promise.race([reached, late]).finally(() => clearTimeout(timer));
}

/** Runs a point once on a rig, waits, and says what is left; `kept` are held through all runs, and must stay. */
export async function runOnce(rig: Rig, point: Point, seed: number, kept: Held[]): Promise<Outcome> {
  const startedAt = performance.now();
  const site = new Site(rig, seeded(seed), kept);
  const left: string[] = [];
  try {
    await point.run(site);
    left.push(...(await leftOver(rig, site.callers)));
    if (left.length === 0) left.push(...(await clean(site, kept)));
  } catch (error) {
    left.push(...(await unexplained(rig)), `not as planned: ${(error as Error).message}`);
  }
  return { killed: site.killed, left, ms: performance.now() - startedAt };
}

/** Takes back all that the run has left to its callers; what is kept stays. */
async function clean({ rig, gateway }: Site, kept: Held[]): Promise<string[]> {
  for (const prefix of ['aws/creds/plain', 'aws/creds/wide', 'aws/creds/pooled', 'brief']) {
    const { status, body } = await rig.ask(gateway, 'PUT', `sys/leases/revoke-prefix/${prefix}`, {});
    if (status !== 204) return [`${prefix} not revoked afterwards: ${status} ${JSON.stringify(body)}`];
  }
  const gone = () => rig.users().length === kept.length;
  await eventually(gone, 10_000).catch(() => undefined);
  return gone() ? [] : [`${rig.users().length - kept.length} users left after all was revoked`];
}

/** Leases that are held through all points of a rig. */
export async function lendKept(rig: Rig): Promise<Held[]> {
  const callers = new Callers(rig, new Ledger(), () => rig.of('gateway')[0]!);
  return [await callers.lend('aws/creds/kept'), await callers.lend('aws/creds/kept')];
}
