import { Agent } from 'node:http';
import { CreateAccessKeyCommand, CreateUserCommand, IAMClient, PutUserPolicyCommand } from '@aws-sdk/client-iam';
import { NodeHttpHandler } from '@smithy/node-http-handler';
import { type Account, lentPolicy } from '../simulated-aws.js';

/** The three calls to AWS that a credential with an inline policy is made of, and nothing around them: what nobody can do without. */
export class BareSdk {
  private readonly iam: IAMClient;
  private made = 0;

  constructor(endpoint: string, { rootIdentity }: Account) {
    this.iam = new IAMClient({
      endpoint,
      region: 'us-east-1',
      maxAttempts: 1,
      credentials: rootIdentity,
      requestHandler: new NodeHttpHandler({ httpAgent: new Agent({ keepAlive: true, maxSockets: 64 }) }),
    });
  }

  /** Makes one user, in the two steps that the calls need. */
  readonly make = async (): Promise<boolean> => {
    const UserName = `bare-${(this.made += 1)}`;
    await this.iam.send(new CreateUserCommand({ UserName }));
    await Promise.all([
      this.iam.send(new PutUserPolicyCommand({ UserName, PolicyName: 'bare', PolicyDocument: lentPolicy })),
      this.iam.send(new CreateAccessKeyCommand({ UserName })),
    ]);
    return true;
  };

  close(): void {
    this.iam.destroy();
  }
}
