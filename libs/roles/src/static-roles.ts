import { Injectable } from '@nestjs/common';
import { Keyring } from '#libs/access';
import { EntityManager } from 'typeorm';

/** A static role: an IAM user that somebody else made, and whose key is kept and rotated here (contract.md 2.8). */
export interface StaticRole {
  mountId: string;
  name: string;
  accountId: string;
  userName: string;
  /** IAM's own id of the user. */
  userId: string;
  rotationPeriodSeconds: number;
  /** The key that is served; null until AWS has accepted the first one. */
  accessKeyId: string | null;
  /** Its keys are being removed, and then it. */
  isBeingDeleted: boolean;
}

/** The pair of a static role, in the clear: in memory and in one answer only. */
export interface StaticCredential {
  accessKeyId: string;
  secretAccessKey: string;
  /** When it is to be rotated. */
  expiration: Date;
}

const columns = `mount_id as "mountId", name, account_id as "accountId", user_name as "userName", user_id as "userId",
  rotation_period_seconds::float8 as "rotationPeriodSeconds", access_key_id as "accessKeyId",
  deleted_at is not null as "isBeingDeleted"`;

/** What the key of a static role is sealed as. */
export const staticKeyPurpose = (mountId: string, name: string) => `key of static role ${name} of mount ${mountId}`;

/** The static roles of every mount. */
@Injectable()
export class StaticRoles {
  constructor(
    private readonly manager: EntityManager,
    private readonly keyring: Keyring,
  ) {}

  /** Also one that is being deleted. */
  async find(mountId: string, name: string): Promise<StaticRole | null> {
    const [role] = (await this.manager.query(`select ${columns} from static_roles where mount_id = $1 and name = $2`, [
      mountId,
      name,
    ])) as StaticRole[];
    return role ?? null;
  }

  /** Names, sorted, without those that are being deleted. */
  async names(mountId: string): Promise<string[]> {
    const rows = (await this.manager.query(
      `select name from static_roles where mount_id = $1 and deleted_at is null order by name`,
      [mountId],
    )) as { name: string }[];
    return rows.map((row) => row.name);
  }

  /** The role of whatever mount that keeps this user's keys; two of one user would take each other's keys away. */
  async ofUser(userId: string): Promise<{ mount: string; name: string } | null> {
    const [found] = (await this.manager.query(
      `select mounts.path as mount, name from static_roles join mounts on mounts.id = mount_id where user_id = $1`,
      [userId],
    )) as { mount: string; name: string }[];
    return found ?? null;
  }

  /** The pair that is in use; null where there is none, or none yet. */
  async credential(mountId: string, name: string): Promise<StaticCredential | null> {
    const [row] = (await this.manager.query(
      `select access_key_id as "accessKeyId", sealed_secret_key as sealed, next_rotation_at as expiration
       from static_roles where mount_id = $1 and name = $2 and deleted_at is null and access_key_id is not null`,
      [mountId, name],
    )) as { accessKeyId: string; sealed: string; expiration: Date }[];
    if (!row) return null;
    const { accessKeyId, sealed, expiration } = row;
    return {
      accessKeyId,
      secretAccessKey: await this.keyring.unseal(sealed, staticKeyPurpose(mountId, name)),
      expiration,
    };
  }

  /** Changes the period, which begins anew. */
  async setPeriod(mountId: string, name: string, seconds: number): Promise<void> {
    await this.manager.query(
      `update static_roles set rotation_period_seconds = $3::bigint,
         next_rotation_at = case when access_key_id is null then next_rotation_at
                                 else now() + $3::bigint * interval '1 s' end
       where mount_id = $1 and name = $2`,
      [mountId, name, seconds],
    );
  }
}
