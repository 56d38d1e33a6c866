import { setTimeout as after } from 'node:timers/promises';
import { Inject, Injectable } from '@nestjs/common';
import { InvalidRequest } from '#libs/contracts';
import { LEASE_TIMING, type LeaseTiming } from '#libs/leases';
import { type Mount, Mounts, type MountTuning, type MountWrite, Rotations, systemMaxTtlSeconds } from '#libs/roles';
import { z } from 'zod';
import { doneOrGoingOn, withFlatData, noContent } from '../api/answers.js';
import { type ApiAnswer, type ApiPart, type ApiPath, operation, type TokenRequest } from '../api/api-path.js';
import { boolField, commaListField, keyValueField, mapField, parseFields, stringField } from '../wire/fields.js';
import { parseDuration } from '../wire/go-duration.js';
import { TakeBack } from './take-back.js';

const tuning = {
  default_lease_ttl: stringField().describe('Default TTL of leases, such as "1h"; "system" or empty: the system\'s.'),
  max_lease_ttl: stringField().describe('Longest TTL of leases; "system" or empty: the system\'s.'),
  description: stringField().describe('For people.'),
  force_no_cache: boolField().describe('Kept and shown; nothing of this engine is cached.'),
  listing_visibility: stringField().describe('"", "hidden" or "unauth".'),
  audit_non_hmac_request_keys: commaListField().describe('Keys that audit shows in the clear.'),
  audit_non_hmac_response_keys: commaListField().describe('Keys that audit shows in the clear.'),
  passthrough_request_headers: commaListField().describe('Headers handed to the engine.'),
  allowed_response_headers: commaListField().describe('Headers the engine may set.'),
  options: keyValueField().describe('Options of the engine.'),
};

const tune = z.object(tuning);
type TuneFields = z.output<typeof tune>;

const mountBody = z.object({
  type: stringField().describe('The engine: aws.'),
  description: stringField().describe('For people.'),
  config: mapField().describe('What tune takes.'),
  local: boolField().describe('Kept and shown; there is no replication.'),
  seal_wrap: boolField().describe('Kept and shown; root keys are always sealed.'),
  external_entropy_access: boolField().describe('Kept and shown.'),
  options: keyValueField().describe('Options of the engine.'),
  plugin_name: stringField().meta({ deprecated: true }).describe('Old name of type.'),
  plugin_version: stringField().describe('Must be empty: there is one version.'),
});

const names = z.array(z.string()).optional();
const options = z.record(z.string(), z.string());
const configured = {
  default_lease_ttl: z.int(),
  max_lease_ttl: z.int(),
  force_no_cache: z.boolean(),
  listing_visibility: z.string().optional(),
  audit_non_hmac_request_keys: names,
  audit_non_hmac_response_keys: names,
  passthrough_request_headers: names,
  allowed_response_headers: names,
};
const tuningShown = z.strictObject({ description: z.string(), ...configured, options: options.optional() });
export const mountShown = z.strictObject({
  type: z.string(),
  description: z.string(),
  accessor: z.string(),
  uuid: z.string(),
  local: z.boolean(),
  seal_wrap: z.boolean(),
  external_entropy_access: z.boolean(),
  options: options.nullable(),
  plugin_version: z.string(),
  running_plugin_version: z.string(),
  running_sha256: z.string(),
  deprecation_status: z.string().optional(),
  config: z.strictObject(configured),
});

/** `sys/mounts`: engines come and go (contract.md 3.1). */
@Injectable()
export class MountsPath implements ApiPart<TokenRequest<unknown>> {
  constructor(
    private readonly mounts: Mounts,
    private readonly takeBack: TakeBack,
    private readonly rotations: Rotations,
    @Inject(LEASE_TIMING) private readonly timing: LeaseTiming,
  ) {}

  paths(): ApiPath<TokenRequest<unknown>>[] {
    return [
      {
        pattern: 'sys/mounts',
        synopsis: 'List the mounted engines.',
        description: 'Path, type, accessor and configuration of every mount.',
        operations: {
          read: operation(z.object({}), () => this.list(), withFlatData(z.record(z.string(), mountShown))),
        },
      },
      {
        pattern: 'sys/mounts/(?P<path>.+?)/tune',
        synopsis: 'Read or change the configuration of a mount.',
        description: 'TTLs are read in seconds, as they are in force.',
        operations: {
          read: operation(
            z.object({}),
            ({ params }) => this.readTuning(slashed(params.path!)),
            withFlatData(tuningShown),
          ),
          update: operation(tune, ({ params, fields }) => this.tune(slashed(params.path!), fields), noContent),
        },
      },
      {
        pattern: 'sys/mounts/(?P<path>.+)',
        synopsis: 'Mount an engine, look at it, or take it down.',
        description:
          'Taking it down revokes every lease under it first; while AWS refuses one of them the mount stays, answers\n' +
          'nothing, and can be taken down again. The keys of its static roles are removed.',
        operations: {
          read: operation(z.object({}), ({ params }) => this.read(slashed(params.path!)), withFlatData(mountShown)),
          update: operation(mountBody, ({ params, fields }) => this.create(slashed(params.path!), fields), noContent),
          delete: operation(z.object({}), ({ params }) => this.remove(slashed(params.path!)), doneOrGoingOn),
        },
      },
    ];
  }

  private async list(): Promise<ApiAnswer> {
    const mounts = await this.mounts.list();
    const data = Object.fromEntries(mounts.map((mount) => [mount.path, mountToWire(mount)]));
    return { data: { ...data, ...coreMounts }, flat: true };
  }

  private async read(path: string): Promise<ApiAnswer> {
    if (Object.hasOwn(coreMounts, path)) return { data: coreMounts[path]!, flat: true };
    const mount = await this.mounts.find(path);
    if (!mount) throw new InvalidRequest(`No secret engine mount at ${path}`);
    return { data: mountToWire(mount), flat: true };
  }

  private async readTuning(path: string): Promise<ApiAnswer> {
    const mount = await this.mounts.find(path);
    const core = Object.hasOwn(coreMounts, path) ? coreMounts[path]! : null;
    if (!mount && !core) throw new InvalidRequest(`cannot fetch sysview for path "${path}"`);
    const { default_lease_ttl, max_lease_ttl, ...rest } = mount ? configOf(mount) : core!.config;
    const shown = mount ?? core!;
    const data = {
      description: shown.description,
      default_lease_ttl: default_lease_ttl || systemMaxTtlSeconds,
      max_lease_ttl: max_lease_ttl || systemMaxTtlSeconds,
      ...rest,
      ...(shown.options ? { options: shown.options } : {}),
    };
    return { data, flat: true };
  }

  private async tune(path: string, fields: TuneFields): Promise<void> {
    if (fields.options?.version) throw hasNoVersions('aws');
    await this.mounts.tune(path, toWrite(fields));
  }

  private async create(path: string, fields: z.output<typeof mountBody>): Promise<void> {
    const type = fields.type || fields.plugin_name;
    if (!type) throw new InvalidRequest('backend type must be specified as a string');
    const { fields: config } = parseFields(tune, fields.config ?? {});
    if (fields.options?.version || config.options?.version || fields.plugin_version) throw hasNoVersions(type);
    const given = { ...config.options, ...fields.options };
    await this.mounts.create(path, type, {
      ...toWrite(config, (name) => `unable to parse ${name} TTL of`),
      description: fields.description ?? '',
      options: Object.keys(given).length > 0 ? given : null,
      local: fields.local ?? false,
      sealWrap: fields.seal_wrap ?? false,
      externalEntropyAccess: fields.external_entropy_access ?? false,
    });
  }

  private async remove(path: string): Promise<ApiAnswer | void> {
    const mount = await this.mounts.taint(path);
    if (!mount) return;
    await this.rotations.endUnmounted();
    const unfinished = await this.takeBack.now({ mountId: mount.id }, 'unmounted');
    if (unfinished) return unfinished;
    await this.mounts.removeEnded();
    return this.removeKeys(mount);
  }

  /** Keys of static roles, and of a rotation under way: removed by the issuers, and no reason for the mount to stay. */
  private async removeKeys({ id }: Mount): Promise<ApiAnswer | void> {
    const until = performance.now() + this.timing.syncOneMs;
    for (;;) {
      const left = await this.rotations.leftToUndo(id);
      if (left === 0) return;
      if (performance.now() > until) {
        const warning = `still removing the keys of ${left} static roles or rotations; it continues by itself`;
        return { status: 202, data: null, warnings: [warning] };
      }
      await after(lookEveryMs);
    }
  }
}

/** Between two looks at what is waited for, milliseconds. */
const lookEveryMs = 100;

function hasNoVersions(type: string): InvalidRequest {
  return new InvalidRequest(`secrets engine "${type}" does not allow setting a version`);
}

const slashed = (path: string) => `${path.replace(/\/+$/, '')}/`;

/** Milliseconds to whole seconds; "" and "system" mean the system's value. */
function ttlSeconds(text: string | undefined, prefix: string | null): number | undefined {
  if (text === undefined) return undefined;
  if (text === '' || text === 'system') return 0;
  try {
    return Math.floor(parseDuration(text) / 1000);
  } catch (error) {
    const { message } = error as Error;
    throw new InvalidRequest(prefix === null ? message : `${prefix} ${text}: ${message}`);
  }
}

function toWrite(fields: TuneFields, prefix: (name: 'default' | 'max') => string | null = () => null): MountWrite {
  const visibility = fields.listing_visibility;
  if (visibility !== undefined && !['', 'hidden', 'unauth'].includes(visibility)) {
    throw new InvalidRequest(`invalid listing_visibility ${visibility}`);
  }
  const asked: MountTuning = {
    forceNoCache: fields.force_no_cache,
    listingVisibility: visibility,
    auditNonHmacRequestKeys: fields.audit_non_hmac_request_keys,
    auditNonHmacResponseKeys: fields.audit_non_hmac_response_keys,
    passthroughRequestHeaders: fields.passthrough_request_headers,
    allowedResponseHeaders: fields.allowed_response_headers,
  };
  return {
    description: fields.description,
    defaultLeaseTtlSeconds: ttlSeconds(fields.default_lease_ttl, prefix('default')),
    maxLeaseTtlSeconds: ttlSeconds(fields.max_lease_ttl, prefix('max')),
    options: fields.options,
    tuning: Object.fromEntries(Object.entries(asked).filter(([, value]) => value !== undefined)),
  };
}

/** The stored values: a TTL of 0 means the system's; what was never set is absent. */
function configOf(mount: Mount) {
  const { tuning: set } = mount;
  return {
    default_lease_ttl: mount.defaultLeaseTtlSeconds,
    max_lease_ttl: mount.maxLeaseTtlSeconds,
    force_no_cache: set.forceNoCache ?? false,
    ...(set.listingVisibility ? { listing_visibility: set.listingVisibility } : {}),
    ...(set.auditNonHmacRequestKeys ? { audit_non_hmac_request_keys: set.auditNonHmacRequestKeys } : {}),
    ...(set.auditNonHmacResponseKeys ? { audit_non_hmac_response_keys: set.auditNonHmacResponseKeys } : {}),
    ...(set.passthroughRequestHeaders ? { passthrough_request_headers: set.passthroughRequestHeaders } : {}),
    ...(set.allowedResponseHeaders ? { allowed_response_headers: set.allowedResponseHeaders } : {}),
  };
}

/** A mount as it is shown (contract.md 3.1). */
export function mountToWire(mount: Mount): Record<string, unknown> {
  return {
    type: mount.type,
    description: mount.description,
    accessor: mount.accessor,
    uuid: mount.id,
    local: mount.local,
    seal_wrap: mount.sealWrap,
    external_entropy_access: mount.externalEntropyAccess,
    options: mount.options,
    plugin_version: '',
    running_plugin_version: '',
    running_sha256: '',
    deprecation_status: 'supported',
    config: configOf(mount),
  };
}

const coreMount = (type: string, description: string, isLocal: boolean) => ({
  type,
  description,
  accessor: `${type}_00000000`,
  uuid: '00000000-0000-0000-0000-000000000000',
  local: isLocal,
  seal_wrap: !isLocal,
  external_entropy_access: false,
  options: null,
  plugin_version: '',
  running_plugin_version: '',
  running_sha256: '',
  config: { default_lease_ttl: 0, max_lease_ttl: 0, force_no_cache: false },
});

/** What is always there, and what clients expect in the list. */
export const coreMounts: Record<string, ReturnType<typeof coreMount>> = {
  'cubbyhole/': coreMount('cubbyhole', 'wrapped answers, as old clients open them', true),
  'sys/': coreMount('system', 'system endpoints used for control, policy and debugging', false),
};
