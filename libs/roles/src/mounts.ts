import { randomBytes, randomUUID } from 'node:crypto';
import { Injectable } from '@nestjs/common';
import { InvalidRequest } from '#libs/contracts';
import { Batches, Rows } from '#libs/runtime';
import { EntityManager, IsNull } from 'typeorm';
import { Mount, type MountTuning } from './mount.entity.js';

/** A lease may live so long where neither mount nor engine says otherwise, in seconds (768 h; contract.md 4.2). */
export const systemMaxTtlSeconds = 768 * 3600;

export const protectedPrefixes = ['audit/', 'auth/', 'sys/', 'cubbyhole/', 'identity/'];

/** A path is part of keys that PostgreSQL indexes, where a value of some 2,700 bytes is the largest. */
export const longestPathBytes = 1024;

/** What a mount is made with or tuned to; absent = unchanged, and for a TTL 0 = the system's. */
export interface MountWrite {
  description?: string;
  defaultLeaseTtlSeconds?: number;
  maxLeaseTtlSeconds?: number;
  tuning?: MountTuning;
  options?: Record<string, string> | null;
}

/** What only a new mount takes. */
export interface NewMount extends MountWrite {
  local: boolean;
  sealWrap: boolean;
  externalEntropyAccess: boolean;
}

/** The mounts: which engine answers under which path. Paths carry their closing slash. */
@Injectable()
export class Mounts {
  private readonly rows: Rows<Mount>;
  private readonly routes = new Batches<string, Mount | null>((paths) => this.routeAll(paths));

  constructor(private readonly manager: EntityManager) {
    this.rows = new Rows(manager, Mount, 'mounts');
  }

  /** Every mount that is not gone, by path; one whose end was refused half way is still among them. */
  async list(): Promise<Mount[]> {
    return this.manager.find(Mount, { where: { removedAt: IsNull() }, order: { path: 'ASC' } });
  }

  async find(path: string): Promise<Mount | null> {
    return this.manager.findOneBy(Mount, { path, removedAt: IsNull() });
  }

  /** The mount that a request path falls under, or null. `path` is without `/v1/`. */
  async route(path: string): Promise<Mount | null> {
    return this.routes.ask(path);
  }

  private async routeAll(paths: string[]): Promise<(Mount | null)[]> {
    const candidates = paths.map((path) =>
      // No mount's path is longer than that many bytes, so none than that many characters.
      [...`${path}/`.slice(0, longestPathBytes).matchAll(/\//g)]
        .map((slash) => `${path}/`.slice(0, slash.index + 1))
        .toReversed(),
    );
    const rows = (await this.manager.query(
      `select ${this.rows.columns} from mounts where path = any($1) and removed_at is null`,
      [[...new Set(candidates.flat())]],
    )) as Record<string, unknown>[];
    const mounts = new Map(rows.map((row) => [row.mounts_path, this.rows.of(row)]));
    // The longest comes first.
    return candidates.map((each) => mounts.get(each.find((path) => mounts.has(path))) ?? null);
  }

  /**
   * Mounts an engine of type `aws` at `path`.
   * @throws InvalidRequest with the texts of contract.md 3.1.
   */
  async create(path: string, type: string, mount: NewMount): Promise<Mount> {
    if (protectedPrefixes.some((prefix) => path.startsWith(prefix))) throw new InvalidRequest(`cannot mount "${path}"`);
    if (Buffer.byteLength(path) > longestPathBytes) {
      throw new InvalidRequest(`mount path is longer than ${longestPathBytes} bytes`);
    }
    if (type !== 'aws') throw new InvalidRequest(`plugin not found in the catalog: ${type}`);
    checkNewTtls(mount);
    return this.manager.transaction(async (manager) => {
      const clash = await reservePath(manager, path);
      if (clash !== undefined) throw new InvalidRequest(`path is already in use at ${clash}`);
      const id = randomUUID();
      await manager.insert(Mount, {
        id,
        path,
        type,
        accessor: `aws_${randomBytes(4).toString('hex')}`,
        description: mount.description ?? '',
        local: mount.local,
        sealWrap: mount.sealWrap,
        externalEntropyAccess: mount.externalEntropyAccess,
        options: mount.options ?? null,
        defaultLeaseTtlSeconds: mount.defaultLeaseTtlSeconds ?? 0,
        maxLeaseTtlSeconds: mount.maxLeaseTtlSeconds ?? 0,
        tuning: mount.tuning ?? {},
        leaseMs: null,
        leaseMaxMs: null,
        taintedAt: null,
        removedAt: null,
      });
      return manager.findOneByOrFail(Mount, { id });
    });
  }

  /**
   * Changes what `write` names.
   * @throws InvalidRequest when no mount is there, or its TTLs would contradict each other.
   */
  async tune(path: string, write: MountWrite): Promise<void> {
    await this.manager.transaction(async (manager) => {
      const mount = await manager.findOne(Mount, {
        where: { path, removedAt: IsNull() },
        lock: { mode: 'pessimistic_write' },
      });
      if (!mount) throw new InvalidRequest(`tune of path "${path}" failed: no mount entry found`);
      const defaultTtl = write.defaultLeaseTtlSeconds ?? mount.defaultLeaseTtlSeconds;
      const maxTtl = write.maxLeaseTtlSeconds ?? mount.maxLeaseTtlSeconds;
      if (defaultTtl > (maxTtl || systemMaxTtlSeconds)) {
        throw new InvalidRequest(
          `backend max lease TTL of ${maxTtl || systemMaxTtlSeconds} would be less than backend default lease TTL of ${defaultTtl}`,
        );
      }
      await manager.query(
        `update mounts set description = $2, default_lease_ttl_seconds = $3, max_lease_ttl_seconds = $4,
           tuning = $5, options = $6, version = nextval('definition_versions') where id = $1`,
        [
          mount.id,
          write.description ?? mount.description,
          defaultTtl,
          maxTtl,
          { ...mount.tuning, ...write.tuning },
          write.options ? { ...mount.options, ...write.options } : mount.options,
        ],
      );
    });
  }

  /** Writes `config/lease`: both in milliseconds, 0 or less = the mount's value. */
  async writeLeaseConfig(mountId: string, leaseMs: number, leaseMaxMs: number): Promise<void> {
    await this.manager.query(
      `update mounts set lease_ms = $2, lease_max_ms = $3, version = nextval('definition_versions')
       where id = $1 and tainted_at is null`,
      [mountId, leaseMs, leaseMaxMs],
    );
  }

  /**
   * Begins a mount's end: from this commit on nothing is issued from it, and a move of it is given up. Null when nothing is
   * mounted there.
   * @throws InvalidRequest for a path that belongs to the system.
   */
  async taint(path: string): Promise<Mount | null> {
    if (protectedPrefixes.some((prefix) => path.startsWith(prefix)))
      throw new InvalidRequest(`cannot unmount "${path}"`);
    return this.manager.transaction(async (manager) => {
      const [[tainted]] = (await manager.query(
        `update mounts set tainted_at = coalesce(tainted_at, now()) where path = $1 and removed_at is null returning id`,
        [path],
      )) as [{ id: string }[], number];
      if (!tainted) return null;
      // A statement of its own: the one above may have waited for the very beginning of a move, and would not see it.
      await manager.query(
        `update mount_moves set state = 'failure', ended_at = now(), error = 'the mount was taken down'
         where mount_id = $1 and state = 'in-progress'`,
        [tainted.id],
      );
      return manager.findOneBy(Mount, { id: tainted.id });
    });
  }

  /**
   * Removes every tainted mount that is not being moved and whose last lease that anybody was given has ended, with its roles and
   * freezes; its root keys an hour later, when nothing that was made with them is left to be taken back.
   * @returns the paths that are free now.
   */
  async removeEnded(): Promise<string[]> {
    return this.manager.transaction(async (manager) => {
      const [gone] = (await manager.query(
        `update mounts set removed_at = now()
         where tainted_at is not null and removed_at is null
           and not exists (select 1 from mount_moves where mount_id = mounts.id and state = 'in-progress')
           and not exists (select 1 from leases
                           where mount_id = mounts.id and state <> 'ended' and accepted_at is not null)
         returning id, path`,
      )) as [{ id: string; path: string }[], number];
      const ids = gone.map((mount) => mount.id);
      await manager.query(`delete from roles where mount_id = any($1)`, [ids]);
      await manager.query(`delete from freezes where mount_id = any($1)`, [ids]);
      // A tombstone may still need the root keys for a look or two, and so may an intent whose statement began before the end of
      // the mount was committed, and a user of whose late making an issuer tells that stood still for minutes.
      for (const table of ['root_configs', 'account_identities']) {
        await manager.query(
          `delete from ${table} kept
           where mount_id in (select id from mounts where removed_at < now() - interval '1 hour')
             and not exists (select 1 from leases where mount_id = kept.mount_id and due_at is not null)
             and not exists (select 1 from static_roles where mount_id = kept.mount_id)
             and not exists (select 1 from rotations where mount_id = kept.mount_id)`,
        );
      }
      return gone.map((mount) => mount.path);
    });
  }
}

/**
 * Keeps others from taking paths until the transaction ends, and looks whether this one is free. A clash may be with a path above
 * or below, which no unique index sees, or with one that a mount is being moved to.
 * @returns the path that it clashes with.
 */
export async function reservePath(manager: EntityManager, path: string): Promise<string | undefined> {
  await manager.query(`select pg_advisory_xact_lock(hashtext('leasehold mounts'))`);
  const [clash] = (await manager.query(
    `select path from (
       select path from mounts where removed_at is null
       union all select to_path from mount_moves where state = 'in-progress'
     ) taken where starts_with($1, path) or starts_with(path, $1) order by path limit 1`,
    [path],
  )) as { path: string }[];
  return clash?.path;
}

function checkNewTtls(mount: NewMount): void {
  const { defaultLeaseTtlSeconds = 0, maxLeaseTtlSeconds = 0 } = mount;
  if (maxLeaseTtlSeconds > 0 && defaultLeaseTtlSeconds > maxLeaseTtlSeconds) {
    throw new InvalidRequest('given default lease TTL greater than given max lease TTL');
  }
  if (maxLeaseTtlSeconds === 0 && defaultLeaseTtlSeconds > systemMaxTtlSeconds) {
    throw new InvalidRequest(`given default lease TTL greater than system max lease TTL of ${systemMaxTtlSeconds}`);
  }
}
