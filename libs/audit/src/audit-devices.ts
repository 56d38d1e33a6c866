import { randomBytes, randomUUID } from 'node:crypto';
import { Keyring } from '#libs/access';
import { InvalidRequest } from '#libs/contracts';
import type { EntityManager } from 'typeorm';
import { type DeviceOptions, parseDeviceOptions, usualOptions } from './device-options.js';

/** The path of the device that the environment names. */
export const configuredPath = 'configured/';

/** A device as `sys/audit` shows it. */
export interface AuditDevice {
  id: string;
  /** With its closing slash: `file/`. */
  path: string;
  type: string;
  description: string;
  local: boolean;
  /** As they were given. */
  options: Record<string, string>;
  /** From the environment of this process: nobody disables it over the API. */
  isConfigured: boolean;
}

/** A device with what it takes to write to it. */
export interface OpenedDevice extends AuditDevice {
  how: DeviceOptions;
  /** 32 bytes. */
  salt: Buffer;
}

/** What `sys/audit/<path>` asks for. */
export type NewDevice = Omit<AuditDevice, 'id' | 'isConfigured'>;

/** The rows of the audit devices. A row is made and removed, and never changed: their ids say whether anything is new. */
export class AuditDevices {
  constructor(
    private readonly manager: EntityManager,
    private readonly keyring: Keyring,
    /** The device of this process's environment: an absolute path, `stdout`, or none. */
    private readonly configuredFile: string | undefined,
  ) {}

  /** Differs from what it was when a device has come or gone. */
  async version(): Promise<string> {
    const [row] = (await this.manager.query(
      `select coalesce(string_agg(id::text, ' ' order by id), '') as version from audit_devices where not configured`,
      [], // with parameters, be it none, it is planned once for each connection
    )) as { version: string }[];
    return row!.version;
  }

  /** The devices that this process writes to, and the version that they are. */
  async open(): Promise<{ version: string; devices: OpenedDevice[] }> {
    if (this.configuredFile !== undefined) await this.keepSaltOfConfigured();
    const rows = (await this.manager.query(
      `select id, path, type, description, local, options, configured as "isConfigured", sealed_salt as "sealedSalt"
       from audit_devices where not configured or $1 order by id`,
      [this.configuredFile !== undefined],
    )) as (AuditDevice & { sealedSalt: string })[];
    const devices = await Promise.all(
      rows.map(async ({ sealedSalt, ...row }): Promise<OpenedDevice> => {
        const salt = Buffer.from(await this.keyring.unseal(sealedSalt, saltOf(row.id)), 'base64');
        if (!row.isConfigured) return { ...row, how: parseDeviceOptions(row.options), salt };
        const filePath = this.configuredFile!;
        return { ...row, options: { file_path: filePath }, how: { ...usualOptions, filePath }, salt };
      }),
    );
    const version = rows.filter((row) => !row.isConfigured).map((row) => row.id);
    return { version: version.join(' '), devices };
  }

  /** @throws InvalidRequest when there is one at the path. */
  async add(device: NewDevice): Promise<void> {
    if (!(await this.insert(device, false))) throw new InvalidRequest(`path already in use at ${device.path}`);
  }

  /** Says nothing of one that is not there. */
  async remove(path: string): Promise<void> {
    await this.manager.query(`delete from audit_devices where path = $1 and not configured`, [path]);
  }

  /** The salt is one for all processes, so that their records can be compared. */
  private async keepSaltOfConfigured(): Promise<void> {
    const description = 'named by LEASEHOLD_AUDIT_FILE';
    await this.insert({ path: configuredPath, type: 'file', description, local: false, options: {} }, true);
  }

  private async insert(device: NewDevice, isConfigured: boolean): Promise<boolean> {
    const { path, type, description, local, options } = device;
    const id = randomUUID();
    const made = await this.manager.transaction(async (manager): Promise<unknown[]> => {
      const salt = await this.keyring.seal(randomBytes(32).toString('base64'), saltOf(id), manager);
      return manager.query(
        `insert into audit_devices (id, path, configured, type, description, local, options, sealed_salt)
         values ($1, $2, $3, $4, $5, $6, $7, $8) on conflict (path) do nothing returning 1`,
        [id, path, isConfigured, type, description, local, options, salt],
      );
    });
    return made.length > 0;
  }
}

const saltOf = (id: string) => `audit salt ${id}`;
