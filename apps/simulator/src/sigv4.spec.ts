import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { ListUsersCommand, UpdateAccessKeyCommand } from '@aws-sdk/client-iam';
import { GetCallerIdentityCommand, GetSessionTokenCommand, STSClient } from '@aws-sdk/client-sts';
import { NodeHttpHandler } from '@smithy/node-http-handler';
import { allowAll, sdkClients, sessionCredentials } from './sdk-clients.spec-stub.js';
import { startSimulator, type AccessKeyPair, type Simulator } from './simulator.js';

describe('who signed a call', () => {
  let simulator: Simulator;
  let root: AccessKeyPair;

  beforeEach(async () => {
    simulator = await startSimulator();
    root = simulator.provisionRootIdentity({ userName: 'root', policy: allowAll });
  });
  afterEach(() => simulator.close());

  const whoami = (credentials: AccessKeyPair & { sessionToken?: string }, clockOffsetMs = 0) =>
    sdkClients(simulator, credentials, clockOffsetMs).sts.send(new GetCallerIdentityCommand({}));

  it('is told by both services to a caller whose signature is right', async () => {
    await expect(whoami(root)).resolves.toMatchObject({
      Account: '000000000000',
      Arn: 'arn:aws:iam::000000000000:user/root',
      UserId: expect.stringMatching(/^AIDA/),
    });
    const { Users } = await sdkClients(simulator, root).iam.send(new ListUsersCommand({}));
    expect(Users?.map(({ UserName }) => UserName)).toEqual(['root']);
  });

  it('cannot be told of a key that nobody has', async () => {
    await expect(whoami({ ...root, accessKeyId: 'AKIAAAAAAAAAAAAAAAAA' })).rejects.toMatchObject({
      name: 'InvalidClientTokenId',
      message: 'The security token included in the request is invalid.',
      $metadata: { httpStatusCode: 403, requestId: expect.stringMatching(/^[0-9a-f-]{36}$/) },
    });
  });

  it('is refused when the secret is another', async () => {
    await expect(whoami({ ...root, secretAccessKey: 'x'.repeat(40) })).rejects.toMatchObject({
      name: 'SignatureDoesNotMatch',
      $metadata: { httpStatusCode: 403 },
    });
  });

  it('is refused when the body is not the one that was signed', async () => {
    class Tampering extends NodeHttpHandler {
      override handle(...[request, options]: Parameters<NodeHttpHandler['handle']>) {
        request.body = String(request.body).replace('DurationSeconds=900', 'DurationSeconds=999');
        return super.handle(request, options);
      }
    }
    const ask = new GetSessionTokenCommand({ DurationSeconds: 900 });
    const config = { endpoint: simulator.url, region: 'us-east-1', credentials: root, maxAttempts: 1 };
    await expect(new STSClient(config).send(ask)).resolves.toBeDefined();
    const tampered = new STSClient({ ...config, requestHandler: new Tampering() });
    await expect(tampered.send(ask)).rejects.toMatchObject({ name: 'SignatureDoesNotMatch' });
  });

  it.each([
    ['sixteen minutes old', -16, /^Signature expired: \d{8}T\d{6}Z is now earlier than .* - 15 min\.\)$/],
    ['sixteen minutes ahead', 16, /^Signature not yet current: \d{8}T\d{6}Z is still later than .* \+ 15 min\.\)$/],
  ])('is refused when the signature is %s', async (_, minutes, message) => {
    await expect(whoami(root, minutes * 60_000)).rejects.toMatchObject({
      name: 'SignatureDoesNotMatch',
      message: expect.stringMatching(message),
    });
  });

  it('is taken when the signature is fourteen minutes old', async () => {
    await expect(whoami(root, -14 * 60_000)).resolves.toBeDefined();
  });

  it('follows the simulated clock', async () => {
    simulator.faults.set({ clockOffsetMs: 3_600_000 });
    await expect(whoami(root)).rejects.toMatchObject({ name: 'SignatureDoesNotMatch' });
    await expect(whoami(root, 3_600_000)).resolves.toBeDefined();
  });

  it('is asked of calls that are not signed at all', async () => {
    const body = new URLSearchParams({ Action: 'GetCallerIdentity', Version: '2011-06-15' });
    const response = await fetch(simulator.url, { method: 'POST', body });
    expect(response.status).toBe(403);
    await expect(response.text()).resolves.toContain('<Code>MissingAuthenticationToken</Code>');
  });

  it('is refused while the key is inactive', async () => {
    const { iam } = sdkClients(simulator, root);
    const account = simulator.account();
    const key = account.createAccessKey(account.existingUser('root'));
    const other = { accessKeyId: key.id, secretAccessKey: key.secret };
    await iam.send(new UpdateAccessKeyCommand({ AccessKeyId: key.id, Status: 'Inactive' }));
    await expect(whoami(other)).rejects.toMatchObject({ name: 'InvalidClientTokenId' });
    await iam.send(new UpdateAccessKeyCommand({ AccessKeyId: key.id, Status: 'Active' }));
    await expect(whoami(other)).resolves.toBeDefined();
  });

  describe('with a session', () => {
    let session: AccessKeyPair & { sessionToken: string };
    beforeEach(async () => {
      const { sts } = sdkClients(simulator, root);
      session = sessionCredentials(await sts.send(new GetSessionTokenCommand({ DurationSeconds: 900 })));
    });

    it('needs key, secret and token of the same session', async () => {
      await expect(whoami(session)).resolves.toMatchObject({ Arn: 'arn:aws:iam::000000000000:user/root' });
      const { accessKeyId, secretAccessKey, sessionToken } = session;
      await expect(whoami({ accessKeyId, secretAccessKey })).rejects.toMatchObject({ name: 'InvalidClientTokenId' });
      await expect(whoami({ ...session, sessionToken: `${sessionToken.slice(0, -8)}AAAAAAA=` })).rejects.toMatchObject({
        name: 'InvalidClientTokenId',
      });
      await expect(whoami({ ...root, sessionToken })).rejects.toMatchObject({ name: 'InvalidClientTokenId' });
      await expect(whoami({ ...session, secretAccessKey: root.secretAccessKey })).rejects.toMatchObject({
        name: 'SignatureDoesNotMatch',
      });
    });

    it('ends on time', async () => {
      simulator.faults.set({ clockOffsetMs: 899_000 });
      await expect(whoami(session, 899_000)).resolves.toBeDefined();
      simulator.faults.set({ clockOffsetMs: 901_000 });
      await expect(whoami(session, 901_000)).rejects.toMatchObject({
        name: 'ExpiredToken',
        $metadata: { httpStatusCode: 403 },
      });
    });
  });
});
