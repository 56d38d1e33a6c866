import { Injectable } from '@nestjs/common';
import { deleteStaticRole, NotFound, RotationFailed, writeStaticRole } from '#libs/contracts';
import { type StaticRole, StaticRoles } from '#libs/roles';
import { z } from 'zod';
import { doneOrGoingOn, withData, withKeys } from '../api/answers.js';
import { type ApiAnswer, type ApiPart, type ApiPath, type EngineRequest, operation } from '../api/api-path.js';
import { IssuerClient } from '../issuer-client.js';
import { durationField, stringField } from '../wire/fields.js';
import { rolePattern } from './roles-path.js';

const nothing = z.object({});

const body = z.object({
  username: stringField().describe('Name of the IAM user, which exists already; fixed afterwards.'),
  rotation_period: durationField().describe('How long a key is used, a minute or more.'),
  assume_role_arn: stringField().describe('Role of another account; not served.'),
  assume_role_session_name: stringField().describe('Session name for that role; not served.'),
  external_id: stringField().describe('External id for that role; not served.'),
});

const shown = z.strictObject({
  name: z.string(),
  /** IAM's own. */
  id: z.string(),
  username: z.string(),
  rotation_period: z.int(),
});

const pair = z.strictObject({
  access_key: z.string(),
  secret_key: z.string(),
  expiration: z.iso.datetime().describe('When the key is rotated next.'),
});

/** `static-roles` and `static-creds`: keys of users that are there already, rotated by themselves (contract.md 2.8). */
@Injectable()
export class StaticRolesPath implements ApiPart<EngineRequest<unknown>> {
  constructor(
    private readonly issuers: IssuerClient,
    private readonly staticRoles: StaticRoles,
  ) {}

  paths(): ApiPath<EngineRequest<unknown>>[] {
    return [
      {
        pattern: 'static-roles',
        synopsis: 'List the static roles of this engine.',
        description: 'Lists names; read a static role to see whose keys it keeps.',
        operations: { list: operation(nothing, ({ mount }) => this.list(mount.id), withKeys) },
      },
      {
        pattern: `static-roles/${rolePattern}`,
        synopsis: 'Read, write and delete static roles.',
        description:
          'A static role keeps the key of an IAM user that exists already, and rotates it when its period is over. When it is\n' +
          'made, the oldest key of a user that has two is removed. Deleting it removes its key from AWS; the user stays.',
        operations: {
          read: operation(nothing, ({ mount, params }) => this.read(mount.id, params.name!), withData(shown)),
          update: operation<typeof body, EngineRequest<unknown>>(
            body,
            (request) => this.write(request),
            withData(shown),
          ),
          delete: operation(nothing, (request) => this.delete(request), doneOrGoingOn),
        },
      },
      {
        pattern: `static-creds/${rolePattern}`,
        synopsis: 'Read the key of a static role.',
        description: 'It has no lease: everyone who reads it gets the same one, until it is rotated.',
        operations: {
          read: operation(nothing, ({ mount, params }) => this.credential(mount.id, params.name!), withData(pair)),
        },
      },
    ];
  }

  private async list(mountId: string) {
    const keys = await this.staticRoles.names(mountId);
    if (keys.length === 0) throw new NotFound();
    return { data: { keys } };
  }

  private async read(mountId: string, name: string): Promise<ApiAnswer> {
    const role = await this.staticRoles.find(mountId, name);
    if (!role || role.isBeingDeleted) throw new NotFound();
    return { data: toWire(role) };
  }

  private async write(
    request: Omit<EngineRequest<unknown>, 'fields'> & { fields: z.output<typeof body> },
  ): Promise<ApiAnswer> {
    const { fields, mount, params } = request;
    if (fields.assume_role_arn || fields.assume_role_session_name || fields.external_id) {
      throw new RotationFailed('cross-account static roles are only supported in Vault Enterprise');
    }
    const name = params.name!;
    const wish = {
      mount: mount.path,
      role: name,
      username: fields.username,
      rotationPeriodSeconds: fields.rotation_period,
    };
    const { hasKey, ...written } = await this.issuers.command(writeStaticRole, wish, request);
    const { username: userName } = written;
    const warning = 'AWS does not accept the first key of this user yet: static-creds answers as soon as it does';
    return { data: toWire({ ...written, userName, name }), warnings: hasKey ? [] : [warning] };
  }

  private async delete(request: EngineRequest<unknown>): Promise<ApiAnswer | void> {
    const { mount, params } = request;
    const { isGone } = await this.issuers.command(deleteStaticRole, { mount: mount.path, role: params.name! }, request);
    if (isGone) return;
    return { status: 202, data: null, warnings: ['still removing the keys of this role; it continues by itself'] };
  }

  private async credential(mountId: string, name: string): Promise<ApiAnswer> {
    const found = await this.staticRoles.credential(mountId, name);
    if (!found) throw new NotFound();
    return {
      data: {
        access_key: found.accessKeyId,
        secret_key: found.secretAccessKey,
        expiration: found.expiration.toISOString().replace(/\.\d+/, ''),
      },
    };
  }
}

function toWire({
  name,
  userId,
  userName,
  rotationPeriodSeconds,
}: Pick<StaticRole, 'name' | 'userId' | 'userName' | 'rotationPeriodSeconds'>) {
  return { name, id: userId, username: userName, rotation_period: rotationPeriodSeconds };
}
