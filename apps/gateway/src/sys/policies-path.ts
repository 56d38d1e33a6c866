import { Injectable } from '@nestjs/common';
import { Policies } from '#libs/access';
import { NotFound } from '#libs/contracts';
import { z } from 'zod';
import { noContentOrWarnings, noContent, withData, withFlatData, withKeys } from '../api/answers.js';
import { type ApiAnswer, type ApiPart, type ApiPath, operation, type TokenRequest } from '../api/api-path.js';
import { stringField } from '../wire/fields.js';

const nothing = z.object({});
const body = z.object({ policy: stringField().describe('The policy: HCL or JSON, as it is or in base64.') });
const oldBody = body.extend({
  rules: stringField().meta({ deprecated: true }).describe('Old name of policy.'),
});

const shown = z.strictObject({ name: z.string(), policy: z.string() });
const shownOld = z.strictObject({ name: z.string(), rules: z.string() });
const namesOld = z.strictObject({ keys: z.array(z.string()), policies: z.array(z.string()) });

const description =
  'A policy says which paths its holders may use, and how: path "aws/creds/*" { capabilities = ["read"] }. What no\n' +
  'policy of a token names is denied. A change counts from the next request on. Names are kept in lower case.';

/** `sys/policies/acl`, and `sys/policy` of old (contract 3.4). */
@Injectable()
export class PoliciesPath implements ApiPart<TokenRequest<unknown>> {
  constructor(private readonly policies: Policies) {}

  paths(): ApiPath<TokenRequest<unknown>>[] {
    const listOld = operation(nothing, () => this.listOld(), withFlatData(namesOld));
    return [
      {
        pattern: 'sys/policies/acl',
        synopsis: 'List the policies.',
        description: 'Their names, that of the root policy among them.',
        operations: {
          list: operation(nothing, async () => ({ data: { keys: await this.policies.names() } }), withKeys),
        },
      },
      {
        pattern: 'sys/policies/acl/(?P<name>.+)',
        synopsis: 'Read, write or delete a policy.',
        description,
        operations: {
          read: operation(
            nothing,
            async ({ params }) => {
              const { name, rules } = await this.read(params.name!);
              return { data: { name, policy: rules } };
            },
            withData(shown),
          ),
          update: operation(
            body,
            ({ params, fields }) => this.write(params.name!, fields.policy ?? ''),
            noContentOrWarnings,
          ),
          delete: operation(nothing, ({ params }) => this.policies.delete(params.name!), noContent),
        },
      },
      {
        pattern: 'sys/policy',
        synopsis: 'List the policies.',
        description: 'As sys/policies/acl, in the form that old clients read.',
        operations: { read: listOld, list: listOld },
      },
      {
        pattern: 'sys/policy/(?P<name>.+)',
        synopsis: 'Read, write or delete a policy.',
        description,
        operations: {
          read: operation(
            nothing,
            async ({ params }) => {
              const { name, rules } = await this.read(params.name!);
              return { data: { name, rules }, flat: true };
            },
            withFlatData(shownOld),
          ),
          update: operation(oldBody, ({ params, fields }) => this.writeOld(params.name!, fields), noContentOrWarnings),
          delete: operation(nothing, ({ params }) => this.policies.delete(params.name!), noContent),
        },
      },
    ];
  }

  private async listOld(): Promise<ApiAnswer> {
    const names = await this.policies.names();
    return { data: { keys: names, policies: names }, flat: true };
  }

  private async read(name: string): Promise<{ name: string; rules: string }> {
    const policy = await this.policies.read(name);
    if (!policy) throw new NotFound();
    return policy;
  }

  private async write(asked: string, text: string): Promise<ApiAnswer> {
    const name = await this.policies.write(asked, text);
    return { warnings: name === asked ? [] : [`policy name was converted to ${name}`] };
  }

  private async writeOld(name: string, { policy, rules }: z.output<typeof oldBody>): Promise<ApiAnswer> {
    const answer = await this.write(name, policy || rules || '');
    const isOld = !policy && Boolean(rules);
    const warnings = isOld ? ["'rules' is deprecated, please use 'policy' instead"] : [];
    return { warnings: [...warnings, ...(answer.warnings ?? [])] };
  }
}
