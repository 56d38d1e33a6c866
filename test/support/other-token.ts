import type { SystemOptions } from '../../apps/standalone/src/system.js';
import { giveTokens } from './tokens.js';

/** A second token that may do everything. */
export async function otherToken(options: SystemOptions): Promise<string> {
  const [token] = await giveTokens({ options }, { policies: ['root'] });
  return token!;
}
