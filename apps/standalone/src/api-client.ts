/** An answer of the system, as far as it is read here. */
export interface Answer {
  status: number;
  hasBody: boolean;
  body: {
    lease_id?: string;
    lease_duration?: number;
    data?: Record<string, string> | null;
    errors?: string[];
    sealed?: boolean;
  };
}

/** Asks the running system over HTTP, as its callers do. */
export class ApiClient {
  /** @param stopping aborted when the system is told to stop: nothing is waited for then. */
  constructor(
    private readonly url: string,
    private readonly token: string,
    private readonly stopping: AbortSignal,
  ) {}

  async ask(method: string, path: string, body?: object): Promise<Answer> {
    const response = await fetch(`${this.url}/v1/${path}`, {
      method,
      headers: { 'X-Vault-Token': this.token },
      signal: this.stopping,
      ...(body ? { body: JSON.stringify(body) } : {}),
    });
    const text = await response.text();
    return {
      status: response.status,
      hasBody: text !== '',
      body: text ? (JSON.parse(text) as Answer['body']) : {},
    };
  }

  /** The paths of the engines that are mounted, such as `aws/`. */
  async engines(): Promise<string[]> {
    const { body } = await this.ask('GET', 'sys/mounts');
    return Object.entries(body.data ?? {}).flatMap(([path, mount]) =>
      (mount as unknown as { type?: string }).type === 'aws' ? [path] : [],
    );
  }
}
