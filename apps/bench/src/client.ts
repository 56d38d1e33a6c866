import { Agent, request } from 'node:http';

/** A request that was not answered as it should be. `outcome` is the status, or what happened instead of one. */
export class RequestFailed extends Error {
  constructor(
    readonly outcome: string,
    message: string,
  ) {
    super(message);
  }
}

/** Speaks Vault's HTTP API over connections that are kept, at little cost of its own. */
export class Client {
  private agent = new Agent({ keepAlive: true });

  constructor(
    private readonly url: string,
    private readonly token: string,
  ) {}

  /** New connections from here on: none that the server may just be closing. */
  reconnect(): void {
    this.agent.destroy();
    this.agent = new Agent({ keepAlive: true });
  }

  /** The text of a 200 or 204. @throws RequestFailed */
  call(method: string, path: string, body?: object, timeoutMs = 30_000): Promise<string> {
    const sent = body && JSON.stringify(body);
    return new Promise((resolve, reject) => {
      const outgoing = request(
        `${this.url}/v1/${path}`,
        {
          method,
          agent: this.agent,
          headers: {
            'x-vault-token': this.token,
            ...(sent ? { 'content-type': 'application/json', 'content-length': Buffer.byteLength(sent) } : {}),
          },
        },
        (response) => {
          let text = '';
          response.setEncoding('utf8');
          response.on('data', (chunk: string) => (text += chunk));
          response.on('error', (error) => reject(new RequestFailed('broken off', error.message)));
          response.on('end', () => {
            const { statusCode } = response;
            if (statusCode === 200 || statusCode === 204) resolve(text);
            else reject(new RequestFailed(String(statusCode), `${method} ${path}: ${this.told(text)}`));
          });
        },
      );
      const timer = setTimeout(
        () => outgoing.destroy(new RequestFailed('timeout', `${method} ${path}: no answer in ${timeoutMs} ms`)),
        timeoutMs,
      );
      outgoing.on('close', () => clearTimeout(timer));
      outgoing.on('error', (error: NodeJS.ErrnoException) =>
        reject(error instanceof RequestFailed ? error : new RequestFailed(error.code ?? 'error', error.message)),
      );
      outgoing.end(sent);
    });
  }

  close(): void {
    this.agent.destroy();
  }

  /** Errors and warnings alone: whatever else an answer holds could be a secret. */
  private told(text: string): string {
    try {
      const { errors, warnings } = JSON.parse(text) as { errors?: unknown; warnings?: unknown };
      return JSON.stringify({ errors, warnings }).replaceAll(this.token, '…').slice(0, 300);
    } catch {
      return `${text.length} characters that are no JSON`;
    }
  }
}
