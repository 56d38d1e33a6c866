import { Injectable } from '@nestjs/common';
import { InvalidRequest, NotFound } from '#libs/contracts';
import { checkTemplate, defaultTemplate, RootConfigs, type RootConfigWrite } from '#libs/roles';
import { z } from 'zod';
import { withData, noContent } from '../api/answers.js';
import { type ApiPart, type ApiPath, type EngineRequest, operation } from '../api/api-path.js';
import { faultOfSchedule } from '../wire/cron-schedule.js';
import { boolField, commaListField, durationField, intField, stringField } from '../wire/fields.js';

const body = z.object({
  access_key: stringField().describe('Access key id of the identity that manages IAM.'),
  secret_key: stringField().describe('Secret access key of that identity; never read back.'),
  region: stringField().describe('Region for calls to AWS; empty: the environment, else us-east-1.'),
  iam_endpoint: stringField().describe('URL of IAM, where it is not the one of the region.'),
  sts_endpoint: stringField().describe('URL of STS, where it is not the one of the region.'),
  sts_region: stringField().describe('Region of sts_endpoint, where it is not region.'),
  sts_fallback_endpoints: commaListField().describe('URLs of STS to try after sts_endpoint.'),
  sts_fallback_regions: commaListField().describe('The regions of sts_fallback_endpoints, one each.'),
  // hvac sends null for what its caller left out, which must not come to mean "no retries" (contract.md 2.1).
  max_retries: z
    .preprocess((value) => (value === null ? -1 : value), intField())
    .meta({ fieldType: 'int' })
    .describe('How often a call is tried again; -1: the default.'),
  username_template: stringField().describe('Go template of the names of users and sessions.'),
  role_arn: stringField().describe('Role for web identity federation; not served.'),
  identity_token_audience: stringField().describe('Audience for web identity federation; not served.'),
  identity_token_ttl: durationField().describe('TTL for web identity federation, which is not served: kept and shown.'),
  rotation_period: durationField().describe('How long a root key is used before it is rotated; 0: not by itself.'),
  rotation_schedule: stringField().describe('Schedule of automatic rotation; not served.'),
  rotation_window: durationField().describe('Window of automatic rotation; not served.'),
  disable_automated_rotation: boolField().describe('No automatic rotation, whatever the period says.'),
  rotation_policy: stringField().describe('Policy of automatic rotation; not served.'),
});

const shown = z.strictObject({
  access_key: z.string(),
  region: z.string(),
  iam_endpoint: z.string(),
  sts_endpoint: z.string(),
  sts_region: z.string(),
  sts_fallback_endpoints: z.array(z.string()),
  sts_fallback_regions: z.array(z.string()),
  max_retries: z.int(),
  username_template: z.string(),
  role_arn: z.string(),
  identity_token_audience: z.string(),
  identity_token_ttl: z.int(),
  rotation_period: z.int(),
  rotation_schedule: z.string(),
  rotation_window: z.int(),
  disable_automated_rotation: z.boolean(),
  rotation_policy: z.string(),
});

/** A key is removed a minute after it was rotated. */
const shortestPeriodSeconds = 60;

/** `config/root`: the credentials that the engine works with (contract.md 2.1). */
@Injectable()
export class ConfigRoot implements ApiPart<EngineRequest<unknown>> {
  constructor(private readonly rootConfigs: RootConfigs) {}

  paths(): ApiPath<EngineRequest<unknown>>[] {
    return [
      {
        pattern: 'config/root',
        synopsis: 'Configure the root credentials that are used to manage IAM.',
        description:
          'The engine makes users, tokens and sessions with these credentials. Where no keys are given, they come from\n' +
          'the environment, the shared file, the container or the instance. A write changes what it names.',
        operations: {
          read: operation(z.object({}), ({ mount }) => this.read(mount.id), withData(shown)),
          update: operation(body, ({ mount, fields }) => this.write(mount.id, fields), noContent),
        },
        creates: { isAbsent: async ({ mount }) => !(await this.rootConfigs.read(mount.id)), byUpdateToo: true },
      },
    ];
  }

  private async read(mountId: string) {
    const settings = await this.rootConfigs.read(mountId);
    if (!settings) throw new NotFound();
    return {
      data: {
        access_key: settings.accessKey,
        region: settings.region,
        iam_endpoint: settings.iamEndpoint,
        sts_endpoint: settings.stsEndpoint,
        sts_region: settings.stsRegion,
        sts_fallback_endpoints: settings.stsFallbackEndpoints,
        sts_fallback_regions: settings.stsFallbackRegions,
        max_retries: settings.maxRetries,
        username_template: settings.usernameTemplate,
        role_arn: '',
        identity_token_audience: '',
        identity_token_ttl: settings.identityTokenTtlSeconds,
        rotation_period: settings.rotationPeriodSeconds,
        rotation_schedule: '',
        rotation_window: 0,
        disable_automated_rotation: settings.disableAutomatedRotation,
        rotation_policy: '',
      },
    };
  }

  private async write(mountId: string, fields: z.output<typeof body>): Promise<void> {
    refuseUnserved(fields);
    const usernameTemplate = fields.username_template || defaultTemplate;
    if (usernameTemplate !== defaultTemplate) checkTemplate(usernameTemplate);
    const write: RootConfigWrite = {
      accessKey: fields.access_key,
      secretKey: fields.secret_key,
      region: fields.region,
      iamEndpoint: fields.iam_endpoint,
      stsEndpoint: fields.sts_endpoint,
      stsRegion: fields.sts_region,
      stsFallbackEndpoints: fields.sts_fallback_endpoints,
      stsFallbackRegions: fields.sts_fallback_regions,
      maxRetries: fields.max_retries,
      usernameTemplate,
      identityTokenTtlSeconds: fields.identity_token_ttl,
      rotationPeriodSeconds: fields.rotation_period,
      disableAutomatedRotation: fields.disable_automated_rotation,
    };
    const named = Object.fromEntries(Object.entries(write).filter(([, value]) => value !== undefined));
    await this.rootConfigs.write(mountId, named);
  }
}

/** What is accepted must be honoured: what is not served is refused, so that nobody counts on it. */
function refuseUnserved(fields: z.output<typeof body>): void {
  if (fields.identity_token_audience && fields.access_key) {
    throw new InvalidRequest("only one of 'access_key' or 'identity_token_audience' can be set");
  }
  if (fields.identity_token_audience && !fields.role_arn) {
    throw new InvalidRequest("missing required 'role_arn' when 'identity_token_audience' is set");
  }
  if (fields.identity_token_audience || fields.role_arn) {
    throw new InvalidRequest(
      'web identity federation is not supported: leave role_arn and identity_token_audience empty',
    );
  }
  if (fields.rotation_schedule && fields.rotation_period) {
    throw new InvalidRequest(
      'mutually exclusive fields rotation_schedule and rotation_period were both specified; only one of them can be provided',
    );
  }
  if (fields.rotation_window && fields.rotation_period) {
    throw new InvalidRequest('rotation_window does not apply to period');
  }
  if (fields.rotation_window && !fields.rotation_schedule) {
    throw new InvalidRequest('cannot use rotation_window without rotation_schedule');
  }
  if (fields.rotation_schedule) {
    const fault = faultOfSchedule(fields.rotation_schedule);
    if (fault) throw new InvalidRequest(`failed to parse provided rotation_schedule: ${fault}`);
  }
  if (fields.rotation_schedule) {
    throw new InvalidRequest(
      'rotation_schedule and rotation_window are not supported: give a rotation_period, or neither',
    );
  }
  if (fields.rotation_policy) throw new InvalidRequest('rotation_policy is not supported: leave it empty');
  if (fields.rotation_period && fields.rotation_period < shortestPeriodSeconds) {
    throw new InvalidRequest(
      `rotation_period must be ${shortestPeriodSeconds} seconds or more: the key before has to be removed first; 0: no rotation`,
    );
  }
}
