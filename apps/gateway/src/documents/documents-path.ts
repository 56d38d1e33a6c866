import { asyncApi } from '#libs/contracts';
import type { Mounts } from '#libs/roles';
import { z } from 'zod';
import { withBody } from '../api/answers.js';
import { type ApiPart, type ApiPath, type ApiRequest, operation } from '../api/api-path.js';
import { boolField } from '../wire/fields.js';
import { type Documented, openApi } from './open-api.js';

const wish = z.object({
  generic_mount_paths: boolField().describe('One set of paths under {aws_mount_path}, instead of one for each mount.'),
});
const document = withBody(z.looseObject({}));

/** What the API is made of: paths without a token, of the core, and of an engine. */
export interface ApiTree {
  open: ApiPath<never>[];
  core: ApiPath<never>[];
  engine: ApiPath<never>[];
}

/** `sys/internal/specs`: the documents that clients are generated from (contract.md 3.6; AsyncAPI is ours). */
export class DocumentsPath implements ApiPart<ApiRequest<unknown>> {
  constructor(
    private readonly tree: () => ApiTree,
    /** Lets a caller in, or throws. */
    private readonly admit: (token: string, remoteAddress: string) => Promise<void>,
    private readonly mounts: Mounts,
  ) {}

  paths(): ApiPath<ApiRequest<unknown>>[] {
    return [
      {
        pattern: 'sys/internal/specs/openapi',
        synopsis: 'The HTTP API as an OpenAPI document.',
        description: 'Without a token its paths are empty.',
        operations: {
          read: operation(
            wish,
            async ({ token, remoteAddress, fields }) => {
              if (token) await this.admit(token, remoteAddress);
              return { bare: token ? await this.openApi(fields.generic_mount_paths ?? false) : openApi([]) };
            },
            document,
          ),
        },
      },
      {
        pattern: 'sys/internal/specs/asyncapi',
        synopsis: 'Commands and events over AMQP as an AsyncAPI document.',
        description: 'The same for every system: its namespace is a parameter.',
        operations: { read: operation(z.object({}), async () => ({ bare: asyncApi() }), document) },
      },
    ];
  }

  /** The document of one mount's paths alone, for its help. */
  ofEngine(paths: ApiPath<never>[], mountPath: string): Record<string, unknown> {
    return openApi([engineAt(mountPath, paths)]);
  }

  /** The document of some paths of the core, for their help. */
  ofCore(paths: ApiPath<never>[]): Record<string, unknown> {
    return openApi([{ paths, prefix: '', isOpen: false }]);
  }

  private async openApi(isGeneric: boolean): Promise<Record<string, unknown>> {
    const { open, core, engine } = this.tree();
    const mounts = isGeneric ? ['{aws_mount_path}/'] : (await this.mounts.list()).map((mount) => mount.path);
    return openApi([
      { paths: open, prefix: '', isOpen: true },
      { paths: core, prefix: '', isOpen: false },
      ...mounts.map((path) => engineAt(path, engine)),
    ]);
  }
}

function engineAt(prefix: string, paths: ApiPath<never>[]): Documented {
  return { paths, prefix, isOpen: false };
}
