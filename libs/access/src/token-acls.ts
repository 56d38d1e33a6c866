import { Injectable } from '@nestjs/common';
import { InvalidRequest } from '#libs/contracts';
import { EntityManager } from 'typeorm';
import type { Acl } from './acl.js';
import { Acls, type PolicyVersions, policyVersions } from './acls.js';
import { Keyring } from './keyring.js';
import { tokenIsAlive } from './tokens.js';

/** What other tokens than the caller's are allowed (contract 3.4, `sys/capabilities`). No use of theirs is spent by asking. */
@Injectable()
export class TokenAcls {
  constructor(
    private readonly manager: EntityManager,
    private readonly keyring: Keyring,
    private readonly acls: Acls,
  ) {}

  /** @throws InvalidRequest when the token is unknown, or over. */
  ofToken(token: string): Promise<Acl> {
    return this.find('hash = $1', this.keyring.hashToken(token), 'invalid token');
  }

  /** @throws InvalidRequest when no living token has this accessor. */
  ofAccessor(accessor: string): Promise<Acl> {
    return this.find('accessor = $1', accessor, 'invalid accessor');
  }

  private async find(condition: string, value: unknown, refusal: string): Promise<Acl> {
    const [row] = (await this.manager.query(
      `select policies, ${policyVersions} as versions from tokens where ${condition} and ${tokenIsAlive}`,
      [value],
    )) as { policies: string[]; versions: PolicyVersions }[];
    if (!row) throw new InvalidRequest(`1 error occurred:\n\t* ${refusal}\n\n`);
    return this.acls.of(row.policies, row.versions);
  }
}
