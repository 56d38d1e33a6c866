import { Injectable } from '@nestjs/common';
import { type AwsAccount, AwsAccounts, type CallerIdentity } from '#libs/aws';
import { type CredentialType, InvalidRequest } from '#libs/contracts';
import {
  AccountIdentities,
  accountOfArn,
  chooseIamRoleArn,
  type Mount,
  type OpenedAccountIdentity,
  type OpenedRootConfig,
  type Role,
  RootConfigs,
} from '#libs/roles';

/** How the text begins when AWS refuses the first call for a credential type (contract.md 2.5). */
const failureOf: Record<CredentialType, string> = {
  iam_user: 'Error creating IAM user',
  assumed_role: 'Error assuming role',
  federation_token: 'Error generating STS keys',
  session_token: 'Error generating STS keys',
};

/** What is asked for, as far as it decides who asks AWS for it. */
interface Asked {
  mount: Mount;
  role: Role;
  root: OpenedRootConfig;
  credentialType: CredentialType;
  /** Of an assumed role: which one, where the role allows several. */
  iamRoleArn?: string;
}

/** Who asks AWS, and where. */
export interface Acting {
  account: AwsAccount;
  identity: CallerIdentity;
  /** Of `config/root`, or of the account's own identity. */
  version: string;
}

/**
 * Who acts at AWS for a role: the identity of the account that the role names; for an assumed role the one of its ARN's account,
 * where the mount has one there; else the mount's root (docs/decisions/0025).
 */
@Injectable()
export class ActingIdentity {
  constructor(
    private readonly rootConfigs: RootConfigs,
    private readonly identities: AccountIdentities,
    private readonly accounts: AwsAccounts,
  ) {}

  /**
   * @throws CodedError `invalid_request` before AWS is asked, where no identity can serve it; `aws_refused`, `aws_throttled`,
   * `aws_unreachable` when AWS does not say who the identity is.
   */
  async of(asked: Asked): Promise<Acting> {
    const own = await this.ownOf(asked);
    this.accounts.keepOnly(asked.mount.id, [asked.root.version]);
    return own ? this.byOwn(asked, own) : this.byRoot(asked);
  }

  private async ownOf({ mount, role, credentialType, iamRoleArn }: Asked): Promise<OpenedAccountIdentity | null> {
    const { definition, name } = role;
    const named = definition.accountId;
    const ofArn =
      credentialType === 'assumed_role' && !named
        ? accountOfArn(chooseIamRoleArn(definition, name, { iamRoleArn }))
        : null;
    const accountId = named ?? ofArn;
    if (!accountId) return null;
    const own = await this.identities.open(mount.id, accountId);
    if (named && !own) {
      throw new InvalidRequest(
        `Role "${name}" lends from AWS account ${named}, for which "${mount.path}" has no credentials: write them to ` +
          `${mount.path}config/accounts/${named}.`,
      );
    }
    return own;
  }

  private async byOwn({ mount, role, root, credentialType }: Asked, own: OpenedAccountIdentity): Promise<Acting> {
    const path = `${mount.path}config/accounts/${own.accountId}`;
    const needsKeys = credentialType === 'federation_token' || credentialType === 'session_token';
    if (needsKeys && own.roleArn !== '') {
      throw new InvalidRequest(
        `Role "${role.name}" cannot lend a ${credentialType} of AWS account ${own.accountId}: AWS gives it for the keys of an IAM ` +
          `user only, and ${path} has a role_arn. Write access_key and secret_key there, or lend an assumed_role.`,
      );
    }
    this.accounts.keepOnlyOwn(mount.id, own.accountId, [own.version], [root.version]);
    const account = this.accounts.openOwn({ ...root.settings, ...root }, own);
    const identity = await account.identity(failureOf[credentialType]);
    if (identity.accountId !== own.accountId) {
      throw new InvalidRequest(
        `${path} has credentials of account ${identity.accountId}: write those of account ${own.accountId}.`,
      );
    }
    return { account, identity, version: own.version };
  }

  private async byRoot({ root, credentialType }: Asked): Promise<Acting> {
    const account = this.accounts.open({ ...root.settings, ...root });
    // AWS is asked who we are before it is asked for anything: that it refuses the root keys is told as the refusal of
    // what the caller wanted (contract.md 1.8, 2.5).
    const identity = await account.identity(failureOf[credentialType]);
    await this.rootConfigs.noteIdentity(root, identity);
    return { account, identity, version: root.version };
  }
}
