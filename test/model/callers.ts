import { CodedError, type IssueLeaseReply, type IssueLeaseRequest } from '#libs/contracts';
import { Accepting, Renewing, Revoking } from '#libs/leases';
import { Mounts } from '#libs/roles';
import { HeldLease } from '../../apps/issuer/src/held-lease.js';
import { IssueLease } from '../../apps/issuer/src/issue-lease.js';
import type { SystemOptions } from '../../apps/standalone/src/system.js';
import { commandFor } from '../support/beside.js';
import type { Chronicle } from './chronicle.js';
import type { Crew } from './crew.js';
import type { Death, Worker } from './worker.js';

const minute = 60_000;
const hour = 60 * minute;

/** The mount's, milliseconds. */
export const ttlMs = 2 * hour;
export const maxTtlMs = 6 * hour;

/** What real time may add to an instant of the model, milliseconds. */
export const slackMs = 3_000;

/** Somebody who asked for a credential, and what became of that. */
interface Asker {
  command: IssueLeaseRequest;
  /** Instant of the model until which it waits. */
  waitsUntil: number;
  /** It was answered, or does not listen any more. */
  done: boolean;
  /** It has left, and that was recorded. */
  withdrawn: boolean;
}

/** A credential that somebody has. */
export interface Holding {
  leaseId: string;
  commandId: string;
  accessKeyId: string;
  /** Nothing may be taken away before this instant; nothing may be left some time after `atLatest`. */
  until: number;
  atLatest: number;
  /** `kept`: untouchable; `asked`: somebody has begun to ask for its end; `owed`: was told that it ends. */
  end: 'kept' | 'asked' | 'owed';
}

/** The mount that is lent from. */
interface Mounted {
  id: string;
  path: string;
  /** Somebody has begun to unmount it. */
  ending: boolean;
  /** PostgreSQL knows. */
  ended: boolean;
}

/** Callers and operators: what they ask for, and what they know of it. `which` chooses among what there is. */
export class Callers {
  holdings: Holding[] = [];
  /** Leases whose acceptance has an unknown outcome: nobody may have them, and they may live until they expire. */
  unknown = new Set<string>();
  mount: Mounted = { id: '', path: '', ending: false, ended: false };
  private askers: Asker[] = [];
  /** Of the token that all of them have. */
  private tokenId = '';
  private tokenEnded = false;
  /** Leases whose acceptance was on its way before token or mount had ended. */
  private acceptedInTime = new Set<string>();

  constructor(
    private readonly crew: Crew,
    private readonly chronicle: Chronicle,
    private readonly options: SystemOptions,
  ) {
    crew.accepts = (leaseIds) => {
      if (!this.tokenEnded && !this.mount.ended) for (const id of leaseIds) this.acceptedInTime.add(id);
    };
  }

  /** Nobody has asked for anything. */
  begin(mount: Mounted, tokenId: string): void {
    Object.assign(this, { askers: [], holdings: [], unknown: new Set(), tokenEnded: false, mount, tokenId });
    this.acceptedInTime.clear();
  }

  /** Commands whose callers have left, and that was recorded. */
  withdrawn(): Set<string> {
    return new Set(this.askers.filter((each) => each.withdrawn).map((each) => each.command.id));
  }

  issue(at: number, acceptAt: number, death: Death = null): void {
    const command = commandFor({ options: this.options }, 'deploy', {
      mount: this.mount.path,
      token: this.options.rootToken,
    });
    const asker = { command, waitsUntil: performance.now() + command.waitMs, done: false, withdrawn: false };
    this.askers.push(asker);
    this.deliver(asker, at, acceptAt, death);
  }

  /** A command is delivered once more, as when its worker is believed dead. */
  deliverAgain(which: number, at: number, acceptAt: number): void {
    const asker = pick(this.askers, which);
    if (asker) this.deliver(asker, at, acceptAt, null);
  }

  private deliver(asker: Asker, at: number, acceptAt: number, death: Death): void {
    const issuer = this.crew.issuer(at);
    const waitMs = asker.waitsUntil - performance.now();
    if (waitMs <= 0) return;
    const work = async () => {
      const answer = await issuer
        .get(IssueLease)
        .execute({ ...asker.command, waitMs })
        .then(
          (reply) => ({ reply }),
          (error: unknown) => ({ error }),
        );
      if (!issuer.isAlive() || asker.done || performance.now() > asker.waitsUntil) return;
      asker.done = true;
      if ('error' in answer) throw answer.error;
      this.accept(asker, answer.reply, this.crew.issuer(acceptAt));
    };
    this.crew.begun(`${issuer.name} issues`, issuer, work, { death });
  }

  /** As the gateway does it: an acceptance without an answer is asked about again, and undone when that gives none either. */
  private accept(asker: Asker, reply: IssueLeaseReply, gateway: Worker): void {
    const { leaseId } = reply;
    const issuedAt = performance.now();
    const work = async () => {
      this.unknown.add(leaseId);
      const accept = () => gateway.get(HeldLease).accept({ ...asker.command, leaseId });
      try {
        await accept().catch((error: unknown) => {
          if (error instanceof CodedError) throw error;
          return accept();
        });
      } catch (error) {
        if (!gateway.isAlive()) throw error;
        if (error instanceof CodedError) this.unknown.delete(leaseId);
        else
          await gateway
            .get(Accepting)
            .undo(leaseId)
            .then(() => this.unknown.delete(leaseId));
        throw error;
      }
      if (!gateway.isAlive()) return;
      this.unknown.delete(leaseId);
      // What ends is committed in a step of its own, so that it was known when an acceptance was taken, but for one that stood
      // before a lock by then: what it gave out goes the way of all that the ended token or mount has.
      const isLate = (this.tokenEnded || this.mount.ended) && !this.acceptedInTime.has(leaseId);
      if (isLate && !this.crew.answersWereLost)
        this.chronicle.violated(`${leaseId} was handed over after its token or mount had ended`);
      this.holdings.push({
        leaseId,
        commandId: asker.command.id,
        accessKeyId: reply.credential.accessKeyId,
        until: issuedAt + reply.leaseDuration * 1000 - slackMs,
        atLatest: issuedAt + reply.leaseDuration * 1000 + slackMs,
        end: this.mount.ending ? 'asked' : 'kept',
      });
    };
    this.crew.begun(`${gateway.name} accepts ${short(leaseId)}`, gateway, work);
  }

  /** The caller leaves before it has its answer. */
  withdraw(which: number, at: number): void {
    const asker = pick(
      this.askers.filter((each) => !each.done),
      which,
    );
    if (!asker) return;
    asker.done = true;
    const gateway = this.crew.issuer(at);
    this.crew.begun(`${gateway.name} withdraws`, gateway, async () => {
      await gateway.get(Accepting).withdraw(asker.command.id, this.tokenId);
      if (gateway.isAlive()) asker.withdrawn = true;
    });
  }

  /** The caller hung up before the last byte. */
  hangUp(which: number, at: number): void {
    this.takeAway(which, at, 'undoes', null, (gateway, { leaseId }) => gateway.get(Accepting).undo(leaseId));
  }

  revoke(which: number, at: number, force: boolean, death: Death): void {
    this.takeAway(which, at, force ? 'forces' : 'revokes', death, (gateway, { leaseId }) =>
      gateway.get(Revoking).ask({ leaseId }, 'revoked', force),
    );
  }

  /** Asks for the end of everything that is there, by prefix. */
  revokeAll(at: number, force: boolean, death: Death): void {
    const gateway = this.crew.issuer(at);
    this.askForAll();
    const work = async () => {
      let end: Holding['end'] = 'asked';
      try {
        await gateway.get(Revoking).ask({ prefix: this.mount.path }, 'revoked', force);
        if (gateway.isAlive()) end = 'owed';
      } finally {
        // It ends in the step of its last statement: whoever holds something now held it then.
        for (const holding of this.holdings) if (holding.end !== 'owed') holding.end = end;
      }
    };
    this.crew.begun(`${gateway.name} ${force ? 'forces' : 'revokes'} all`, gateway, work, { death });
  }

  private takeAway(
    which: number,
    at: number,
    verb: string,
    death: Death,
    ask: (gateway: Worker, holding: Holding) => Promise<unknown>,
  ): void {
    const holding = pick(this.holdings, which);
    if (!holding) return;
    if (holding.end === 'kept') holding.end = 'asked';
    const gateway = this.crew.issuer(at);
    const work = async () => {
      await ask(gateway, holding);
      if (gateway.isAlive()) holding.end = 'owed';
    };
    this.crew.begun(`${gateway.name} ${verb} ${short(holding.leaseId)}`, gateway, work, { death });
  }

  renew(which: number, at: number, minutes: number): void {
    const holding = pick(this.holdings, which);
    if (!holding) return;
    const gateway = this.crew.issuer(at);
    // Nobody knows when it takes effect, or whether: until it is answered only the shorter span is certain.
    const asked = performance.now() + (minutes * minute || ttlMs);
    this.crew.begun(`${gateway.name} renews ${short(holding.leaseId)} for ${minutes} min`, gateway, async () => {
      const unsure = () => {
        holding.until = Math.min(holding.until, asked - slackMs);
        holding.atLatest += maxTtlMs;
      };
      unsure();
      const { ttlMs: granted } = await gateway
        .get(Renewing)
        .renew(holding.leaseId, minutes * minute)
        .finally(unsure);
      if (!gateway.isAlive()) return;
      holding.until = performance.now() + granted - slackMs;
      holding.atLatest = performance.now() + granted + slackMs;
    });
  }

  unmount(at: number, death: Death): void {
    this.mount.ending = true;
    const gateway = this.crew.issuer(at);
    this.askForAll();
    const work = async () => {
      await gateway.get(Mounts).taint(this.mount.path);
      this.mount.ended = true;
      await gateway.get(Revoking).ask({ mountId: this.mount.id }, 'unmounted');
      if (gateway.isAlive()) for (const holding of this.holdings) holding.end = 'owed';
    };
    this.crew.begun(`${gateway.name} unmounts`, gateway, work, { death });
  }

  /** The token of all callers has ended: PostgreSQL knows. */
  tokenHasEnded(): void {
    this.tokenEnded = true;
  }

  private askForAll(): void {
    for (const holding of this.holdings) if (holding.end === 'kept') holding.end = 'asked';
  }
}

export function pick<T>(among: T[], which: number): T | undefined {
  return among[which % among.length];
}

export const short = (leaseId: string) => leaseId.slice(-6);
