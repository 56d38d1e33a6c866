import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { readFileSync } from 'node:fs';
import specs from '@asyncapi/specs';
import { Validator } from '@seriousme/openapi-schema-validator';
import { Ajv, type AnySchema } from 'ajv';
import addFormats from 'ajv-formats';
import { World } from './support/world.js';

const committed = (name: string) => JSON.parse(readFileSync(`docs/${name}.json`, 'utf8')) as Record<string, unknown>;

describe('the documents', () => {
  let world: World;

  beforeAll(async () => {
    world = await World.start();
    await world.mount();
    await world.mount('team/aws');
  });
  afterAll(() => world.close());

  it('of HTTP is served as it is in docs/, and is OpenAPI', async () => {
    const { body } = await world.http.must(200, 'GET', 'sys/internal/specs/openapi?generic_mount_paths=true');
    expect(body).toEqual(committed('openapi'));
    const { valid, errors } = await new Validator().validate(body);
    expect({ valid, errors }).toEqual({ valid: true, errors: undefined });
  });

  it('of HTTP has a set of paths for each mount', async () => {
    const { body } = await world.http.must(200, 'GET', 'sys/internal/specs/openapi');
    const paths = Object.keys(body.paths as object);
    expect(paths).toEqual(
      expect.arrayContaining(['/aws/creds/{name}', '/team/aws/creds/{name}', '/sys/leases/renew', '/sys/renew']),
    );
    expect(paths.filter((path) => path.includes('mount_path'))).toEqual([]);
    expect((await new Validator().validate(body)).valid).toBe(true);
  });

  it('of HTTP is empty without a token, and not for a token that is none', async () => {
    const { body } = await world.http.must(200, 'GET', 'sys/internal/specs/openapi', undefined, { token: null });
    expect(body.paths).toEqual({});
    await world.http.must(403, 'GET', 'sys/internal/specs/openapi', undefined, { token: 'nobody' });
  });

  it('of AMQP is served as it is in docs/, and is AsyncAPI', async () => {
    const { body } = await world.http.must(200, 'GET', 'sys/internal/specs/asyncapi', undefined, { token: null });
    expect(body).toEqual(committed('asyncapi'));
    const ajv = new Ajv({ strict: false });
    (addFormats as unknown as (to: Ajv) => void)(ajv);
    const validate = ajv.compile(specs.schemasWithoutId['3.0.0'] as AnySchema);
    validate(body);
    expect(validate.errors).toBeNull();
  });

  it('is in the help of a path, of that path alone', async () => {
    const { body } = await world.http.must(200, 'GET', 'team/aws/creds/deploy?help=1');
    const { paths } = body.openapi as { paths: object };
    expect(Object.keys(paths)).toEqual(['/team/aws/creds/{name}', '/team/aws/sts/{name}']);
  });
});
