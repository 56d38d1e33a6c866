import { randomBytes, randomUUID, timingSafeEqual } from 'node:crypto';
import { Logger, type OnApplicationShutdown, type OnModuleInit } from '@nestjs/common';
import type { Keyring, Token } from '#libs/access';
import { CodedError, InvalidRequest } from '#libs/contracts';
import type { Metrics } from '#libs/runtime';
import { type AuditDevice, type AuditDevices, configuredPath, type NewDevice } from './audit-devices.js';
import {
  type AuditedMount,
  type AuditedRequest,
  type AuditedResponse,
  type Known,
  type RecordForm,
  requestRecord,
  responseRecord,
} from './audit-record.js';
import { type AuditSink, sinkOf } from './audit-sink.js';
import { parseDeviceOptions } from './device-options.js';
import { Hashing } from './hashing.js';

/** A device is enabled and none can write: nothing is done, or what was done is not told (contract 1.8, 3.6). */
export class AuditFailed extends CodedError {
  constructor() {
    super('internal', 'no audit device can write');
  }
}

/** A device that records go to. */
interface Writing extends RecordForm {
  device: AuditDevice;
  prefix: string;
  sink: AuditSink;
  isFailing: boolean;
}

/**
 * Who asked for what and was told what: a record of every request before it is handled, and one of every answer before it
 * leaves, to every enabled device. The devices are those of the moment at which the request came, at every process alike.
 */
export class AuditTrail implements OnModuleInit, OnApplicationShutdown {
  private readonly logger = new Logger('Audit');
  private readonly records;
  private version: string | null = null;
  private writing: Writing[] = [];
  /** The look that is under way, and the one that begins after it. */
  private looking: Promise<void> = Promise.resolve();
  private next: Promise<void> | null = null;

  constructor(
    private readonly devices: AuditDevices,
    private readonly keyring: Keyring,
    metrics: Metrics,
  ) {
    this.records = metrics.counter(
      'leasehold_audit_records_total',
      'Audit records, per device: "request" or "response", "written" or "failed".',
      ['type', 'outcome'],
    );
  }

  async onModuleInit(): Promise<void> {
    await this.look();
  }

  async onApplicationShutdown(): Promise<void> {
    await Promise.all(this.writing.map(({ sink }) => sink.close()));
  }

  /** Begins with a request: from now on it is asked which devices there are. */
  begin(request: AuditedRequest): AuditEntry {
    const looked = this.look();
    looked.catch(() => undefined); // heard of where it is waited for
    return new AuditEntry(request, looked, {
      isWanted: () => this.writing.length > 0,
      write: (form) => this.write(form),
    });
  }

  /** Looks at the next record whether a file was renamed or removed, as after the signal SIGHUP. */
  reopen(): void {
    for (const { sink } of this.writing) sink.reopen();
  }

  async list(): Promise<AuditDevice[]> {
    await this.look();
    return this.writing.map(({ device }) => device);
  }

  /**
   * From the answer on, every process writes to it. Tried here first, before it is kept.
   * @throws InvalidRequest for what cannot be, and for a file that this process cannot write.
   */
  async enable(device: NewDevice): Promise<void> {
    if (device.path === configuredPath) {
      throw new InvalidRequest(`the path "${configuredPath}" is the one of LEASEHOLD_AUDIT_FILE`);
    }
    if (device.type !== 'file') throw new InvalidRequest(`unknown backend type: "${device.type}" (there is "file")`);
    const sink = sinkOf(parseDeviceOptions(device.options));
    try {
      await sink.append(`${JSON.stringify(testRecord())}\n`);
    } catch (error) {
      throw new InvalidRequest(`the device cannot be written: ${(error as Error).message}`);
    } finally {
      await sink.close();
    }
    await this.devices.add(device);
    await this.look();
  }

  /** @throws InvalidRequest for the device that the environment names. */
  async disable(path: string): Promise<void> {
    const isConfigured = path === configuredPath && this.writing.some(({ device }) => device.isConfigured);
    if (isConfigured) throw new InvalidRequest('cannot disable configuration-managed audit device');
    await this.devices.remove(path);
    await this.look();
  }

  /** The text as the device at that path writes it. @throws InvalidRequest */
  async hash(path: string, text: string): Promise<string> {
    await this.look();
    const found = this.writing.find(({ device }) => device.path === path);
    if (!found) throw new InvalidRequest(`unknown audit backend "${path}"`);
    return found.hashing.text(text);
  }

  /** This process's word that it audits what it sends this command for: nobody without the keyring can give it. */
  markOf(commandId: string): string {
    return this.keyring.derive('audited command', [commandId], 32).toString('base64url');
  }

  isAudited({ id, audited }: { id: string; audited?: string }): boolean {
    if (audited === undefined) return false;
    const [given, wanted] = [Buffer.from(audited), Buffer.from(this.markOf(id))];
    return given.length === wanted.length && timingSafeEqual(given, wanted);
  }

  /** What it finds was true at a moment after it was asked; who asks while another one is under way shares the next. */
  private look(): Promise<void> {
    this.next ??= this.looking
      .catch(() => undefined)
      .then(() => {
        this.next = null;
        return (this.looking = this.refresh());
      });
    return this.next;
  }

  private async refresh(): Promise<void> {
    if ((await this.devices.version()) === this.version) return;
    const { version, devices } = await this.devices.open();
    const before = this.writing;
    this.writing = devices.map(
      ({ how, salt, ...device }) =>
        before.find((each) => each.device.id === device.id) ?? {
          device,
          prefix: how.prefix,
          hmacAccessor: how.hmacAccessor,
          hashing: new Hashing(salt),
          sink: sinkOf(how),
          isFailing: false,
        },
    );
    this.version = version;
    for (const gone of before.filter((each) => !this.writing.includes(each))) void gone.sink.close();
  }

  /** @throws AuditFailed when there are devices and no one has taken the record. */
  private async write({ type, of }: Form): Promise<void> {
    if (this.writing.length === 0) return;
    const taken = await Promise.all(
      this.writing.map(async (each) => {
        try {
          await each.sink.append(`${each.prefix}${JSON.stringify(of(each))}\n`);
          this.heard(each, type);
          return true;
        } catch (error) {
          this.heard(each, type, error as Error);
          return false;
        }
      }),
    );
    if (!taken.includes(true)) throw new AuditFailed();
  }

  /** Counts every record, and says once that a device fails and once that it works again. */
  private heard(each: Writing, type: Form['type'], error?: Error): void {
    this.records.inc({ type, outcome: error ? 'failed' : 'written' });
    if (each.isFailing === Boolean(error)) return;
    each.isFailing = Boolean(error);
    const { path: device } = each.device;
    if (error) this.logger.error({ msg: 'audit device cannot be written', device, error: error.message });
    else this.logger.log({ msg: 'audit device is written again', device });
  }
}

/** What is written to a device to see that it can be, in the words of the peers. */
function testRecord(): object {
  const request: AuditedRequest = { id: randomUUID(), operation: 'update', path: 'sys/audit/test', data: {} };
  return requestRecord({ request }, { hashing: new Hashing(randomBytes(32)), hmacAccessor: true });
}

/** A record before it takes the form of a device. */
interface Form {
  type: 'request' | 'response';
  of: (form: RecordForm) => object;
}

/** One request on its way: what is known of it grows, and its two records are written. */
export class AuditEntry {
  private readonly known: Known;
  private isBegun = false;

  constructor(
    request: AuditedRequest,
    private readonly looked: Promise<void>,
    private readonly trail: { isWanted(): boolean; write(form: Form): Promise<void> },
  ) {
    this.known = { request };
  }

  /** Whose token it is. */
  set token(token: Token | undefined) {
    this.known.token = token;
  }

  /** For how long the answer is to be wrapped, milliseconds. */
  set wrapTtlMs(ttlMs: number | undefined) {
    this.known.wrapTtlMs = ttlMs;
  }

  set mount(mount: AuditedMount) {
    this.known.mount = mount;
  }

  /** Whether the caller is let through. */
  set isAllowed(isAllowed: boolean) {
    this.known.isAllowed = isAllowed;
  }

  /** Says which policies let the caller through, when a record is written. */
  set grantingPolicies(grantingPolicies: () => string[]) {
    this.known.grantingPolicies = grantingPolicies;
  }

  /** Whether there is a device: what only records need is not looked up for none. */
  async isWanted(): Promise<boolean> {
    await this.looked;
    return this.trail.isWanted();
  }

  /**
   * Just before the request is handled.
   * @throws AuditFailed: it must not be. Unavailable when it cannot be known which devices there are.
   */
  async begins(): Promise<void> {
    await this.looked;
    await this.begin();
  }

  /**
   * Just before the answer is sent; of what was refused before it was handled it writes both records.
   * @throws AuditFailed: it must not be.
   */
  async ends(response: AuditedResponse): Promise<void> {
    // Of a database that is away callers are told as well: the devices are those known last.
    await this.looked.catch(() => undefined);
    if (!this.isBegun) await this.begin(response.error);
    await this.trail.write({ type: 'response', of: (form) => responseRecord(this.known, form, response) });
  }

  private async begin(error?: string): Promise<void> {
    this.isBegun = true;
    await this.trail.write({ type: 'request', of: (form) => requestRecord(this.known, form, error) });
  }
}
