import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { ApiClient } from './api-client.js';
import { tour } from './tour.js';

describe('the tour', () => {
  /** What the system answers; 204 to all else. */
  let answers: Record<string, [status: number, body: string]>;
  let asked: string[];
  let said: string[];
  let server: Server;
  let toStop: AbortController;

  beforeEach(async () => {
    answers = { 'GET /v1/sys/mounts': [200, '{"data":{"sys/":{"type":"system"}}}'] };
    asked = [];
    said = [];
    toStop = new AbortController();
    server = createServer((request, response) => {
      const key = `${request.method} ${request.url}`;
      asked.push(key);
      const [status, body] = answers[key] ?? [204, ''];
      response.writeHead(status).end(body);
    });
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  });
  afterEach(() => new Promise((resolve) => server.close(resolve)));

  const show = () => {
    const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
    return tour({
      api: new ApiClient(url, 'token', toStop.signal),
      account: {
        rootKey: { accessKeyId: 'AKIA', secretAccessKey: 'secret' } as never,
        iamRoleArn: 'arn:aws:iam::000000000000:role/x',
        surroundings: { ambientCredentials: () => () => Promise.reject(new Error()), ambientRegion: 'us-east-1' },
      },
      say: (line) => void said.push(line),
      stopping: toStop.signal,
    });
  };

  it('touches nothing where an engine is mounted, wherever that is', async () => {
    answers['GET /v1/sys/mounts'] = [200, '{"data":{"sys/":{"type":"system"},"aws/prod/":{"type":"aws"}}}'];
    await show();
    expect(asked).toEqual(['GET /v1/sys/mounts']);
    expect(said.join('\n')).toMatch(/^The tour is skipped: .* aws\/prod\/ already\.$/m);
    expect(said.join('\n')).toMatch(/^To see it: .*LEASEHOLD_DATA_DIR=\$\(mktemp -d\) npm start$/m);
  });

  it.each([
    ['POST /v1/sys/mounts/aws', 400, '{"errors":["path is already in use at aws/"]}', 'was answered 400'],
    ['PUT /v1/aws/roles/deploy', 503, '{"errors":["away"]}', 'was answered 503'],
    ['GET /v1/aws/creds/deploy', 200, '{"data":null}', 'lent nothing'],
  ])('ends with a sentence when %s is answered %i %s', async (step, status, body, fault) => {
    answers[step] = [status, body];
    await show();
    expect(said.at(-1)).toBe(`\nThe tour ends here: ${step} ${fault}. The system goes on serving.`);
    expect(asked.at(-1)).toBe(step);
  });

  it('ends with a sentence when what answers speaks another language', async () => {
    answers['PUT /v1/aws/config/lease'] = [200, '<html>'];
    await show();
    expect(said.at(-1)).toMatch(/^\nThe tour ends here: .* The system goes on serving\.$/);
  });

  it('ends without a word when the system is told to stop', async () => {
    toStop.abort();
    await show();
    expect([asked, said]).toEqual([[], []]);
  });
});
