import NodeVault from 'node-vault';
import { checkDocumented } from './documented.js';
import type { World } from './world.js';

/** How node-vault refuses: what it read as its message, the answer beside it. */
export interface NodeVaultError extends Error {
  response?: { statusCode: number; body: { errors: string[] } };
}

/**
 * node-vault as its users have it, by default with the root token; what it reads is held against the OpenAPI document.
 * @param used takes the names of those of its functions that are called.
 */
export function nodeVault(
  world: World,
  options: NodeVault.VaultOptions = {},
  used = new Set<string>(),
): NodeVault.client {
  const client = NodeVault({ endpoint: world.http.url, token: world.http.token, ...options });
  const { request, handleVaultResponse } = client;
  client.request = (asked) => {
    // A request takes the handler of its own moment along, so each answer is looked at beside what was asked.
    client.handleVaultResponse = (response) => {
      if (response) checkRead(asked, response);
      return handleVaultResponse(response);
    };
    return request(asked);
  };
  for (const [name, call] of functionsOf(client)) {
    Object.assign(client, {
      [name]: (...args: unknown[]) => {
        used.add(name);
        return call(...args);
      },
    });
  }
  return client;
}

/** All that a client can ask for: every function of its own, but the one that reads answers. */
export function functionsOf(client: NodeVault.client): [name: string, call: (...args: unknown[]) => unknown][] {
  return Object.entries(client).filter(
    ([name, value]) => typeof value === 'function' && name !== 'handleVaultResponse',
  );
}

function checkRead(
  { method, path }: { method: string; path: string },
  { statusCode, body }: { statusCode: number; body: unknown },
): void {
  // It has read the body as JSON already; what was none is a text, which no schema of the document takes.
  checkDocumented(method, path.replaceAll('&#x2F;', '/'), {
    status: statusCode,
    headers: new Headers({ 'content-type': 'application/json' }),
    text: body === '' ? '' : JSON.stringify(body),
  });
}
