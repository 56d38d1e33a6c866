import { Injectable } from '@nestjs/common';
import { InvalidRequest } from '#libs/contracts';
import { EntityManager } from 'typeorm';
import { Policy } from './policy.entity.js';
import { parsePolicy } from './policy.js';

/** They cannot be written or deleted; the second one is not even shown. */
const immutable = ['root', 'response-wrapping'];

/** A part of an index's keys, of which PostgreSQL takes some 2,700 bytes. */
const longestNameBytes = 1024;

/** Reading a longer one would keep a process from everything else for too long. */
const longestBytes = 1024 * 1024;

/** The policies as they are kept (contract 3.4). Names are in lower case, whatever case they are asked for in. */
@Injectable()
export class Policies {
  constructor(private readonly manager: EntityManager) {}

  /** In order, and `root` behind them; that of wrapping tokens is in no list (contract 3.4). */
  async names(): Promise<string[]> {
    const found = await this.manager.find(Policy, { select: { name: true }, order: { name: 'ASC' } });
    return [...found.map(({ name }) => name).filter((name) => !immutable.includes(name)), 'root'];
  }

  /** The text of a policy; of `root`, which has none, an empty one. */
  async read(asked: string): Promise<{ name: string; rules: string } | null> {
    const name = asked.toLowerCase();
    if (name === 'root') return { name, rules: '' };
    return this.manager.findOneBy(Policy, { name });
  }

  /**
   * @param text HCL, JSON, or either in base64.
   * @returns the name that it is kept under.
   * @throws InvalidRequest with the texts of contract 3.4.
   */
  async write(asked: string, text: string): Promise<string> {
    const name = asked.toLowerCase();
    if (text === '') throw new InvalidRequest("'policy' parameter not supplied or empty");
    const rules = fromBase64(text) ?? text;
    if (Buffer.byteLength(rules) > longestBytes) {
      throw new InvalidRequest(`policy is longer than ${longestBytes} bytes: split it, a token may have several`);
    }
    parsePolicy(rules);
    if (immutable.includes(name)) throw new InvalidRequest(`cannot update "${name}" policy`);
    if (Buffer.byteLength(name) > longestNameBytes) {
      throw new InvalidRequest(`policy name is longer than ${longestNameBytes} bytes`);
    }
    await this.manager.query(
      `insert into policies (name, rules) values ($1, $2)
       on conflict (name) do update
         set rules = excluded.rules, version = nextval('definition_versions'), modified_at = now()`,
      [name, rules],
    );
    return name;
  }

  /** @throws InvalidRequest for those that must be there; one that is not there is gone already. */
  async delete(asked: string): Promise<void> {
    const name = asked.toLowerCase();
    if (immutable.includes(name)) throw new InvalidRequest(`cannot delete "${name}" policy`);
    if (name === 'default') throw new InvalidRequest('cannot delete default policy');
    await this.manager.delete(Policy, { name });
  }
}

/** What a text in base64, with its padding, says; null for any other text. */
function fromBase64(text: string): string | null {
  const packed = text.replace(/[\r\n]/g, '');
  if (packed.length % 4 !== 0 || !/^[A-Za-z0-9+/]+={0,2}$/.test(packed)) return null;
  try {
    return new TextDecoder('utf-8', { fatal: true }).decode(Buffer.from(packed, 'base64'));
  } catch {
    throw new InvalidRequest('failed to parse policy: At 1:1: illegal UTF-8 encoding');
  }
}
