import type { Client } from 'pg';
import type { LeaseState } from '#libs/leases';

/** One change of a lease's state, claim or next instant, as PostgreSQL saw it. */
export interface Step {
  seq: string;
  lease_id: string;
  from_state: LeaseState;
  to_state: LeaseState;
  from_claim: string | null;
  to_claim: string | null;
  /** Its time had come before: from then on it, or the claim on it, is anybody's. */
  was_due: boolean;
  /** It is to be looked at at another instant than before. */
  is_moved: boolean;
  is_renewed: boolean;
  /** Whose it was. */
  claimant: string | null;
  /** The worker that did it. */
  who: string;
}

/** Where a lease may go from where it is (design.md, A lease's life). A tombstone that AWS refuses needs a person again. */
const ways: Record<LeaseState, LeaseState[]> = {
  issuing: ['pooled', 'offered', 'revoking', 'ended'],
  pooled: ['offered', 'revoking'],
  offered: ['active', 'revoking'],
  active: ['revoking'],
  revoking: ['ended', 'irrevocable'],
  irrevocable: ['revoking', 'ended'],
  ended: ['irrevocable'],
};

/** Makes PostgreSQL write every such change down, in the table `model.steps`. */
export async function watchSteps(database: Client): Promise<void> {
  await database.query(`
    create table model.claims (claim uuid primary key, who text not null);
    create table model.steps (
      seq bigserial, lease_id text, from_state text, to_state text, from_claim uuid, to_claim uuid,
      was_due boolean, is_moved boolean, is_renewed boolean, claimant text, who text
    );
    create function model.note_step() returns trigger language plpgsql as $$
    declare
      me constant text := current_setting('application_name');
    begin
      if new.claim_id is not null then
        insert into model.claims values (new.claim_id, me) on conflict do nothing;
      end if;
      insert into model.steps (lease_id, from_state, to_state, from_claim, to_claim, was_due, is_moved, is_renewed, claimant, who)
      values (new.id, old.state, new.state, old.claim_id, new.claim_id,
        old.due_at <= now(), old.due_at is distinct from new.due_at,
        old.last_renewed_at is distinct from new.last_renewed_at, (select who from model.claims where claim = old.claim_id), me);
      return null;
    end $$;
    create trigger model_steps after update on leases for each row
      when (old.state <> new.state or old.claim_id is distinct from new.claim_id or old.due_at is distinct from new.due_at)
      execute function model.note_step()`);
}

/** What is wrong with these steps, a sentence each. */
export function judgeSteps(steps: Step[]): string[] {
  return steps.flatMap((step) => {
    const { lease_id: id, from_state: from, to_state: to, who } = step;
    const wrong: string[] = [];
    if (from !== to && !ways[from].includes(to)) wrong.push(`${who} moved ${id} from ${from} to ${to}`);
    if (['pooled', 'offered', 'active'].includes(to) && from !== to && step.was_due)
      wrong.push(`${who} made ${id} ${to} too late`);
    if (step.from_claim && step.to_claim !== step.from_claim) {
      if (step.to_claim === null && who !== step.claimant) wrong.push(`${who} ended ${step.claimant}'s claim on ${id}`);
      if (step.to_claim !== null && !step.was_due) wrong.push(`${who} claimed ${id}, which is ${step.claimant}'s`);
    }
    if (from === 'revoking' && to !== 'revoking' && step.from_claim === null)
      wrong.push(`${who} ended ${id} unclaimed`);
    // What comes of a try is said by who has claimed it.
    if (from === to && step.is_moved && who.startsWith('revoker') && step.to_claim === null && step.claimant !== who)
      wrong.push(`${who} put off ${id}, which it had not claimed`);
    if (step.is_renewed && from !== 'active') wrong.push(`${who} renewed ${id}, which was ${from}`);
    return wrong;
  });
}
