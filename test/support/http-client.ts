import { checkDocumented } from './documented.js';

/** An answer of the gateway, its body read as JSON where there is one. */
export interface HttpAnswer {
  status: number;
  headers: Headers;
  text: string;
  body: HttpBody;
}

/** What a client reads; a journey says what it expects of it. */
export interface HttpBody {
  lease_id: string;
  lease_duration: number;
  renewable: boolean;
  data: Record<string, unknown>;
  errors: string[];
  warnings: string[] | null;
  [key: string]: unknown;
}

/** Speaks to the gateway as its clients do, and fails when an answer is not as the OpenAPI document says. */
export class HttpClient {
  constructor(
    public url: string,
    public token: string,
  ) {}

  async call(
    method: string,
    path: string,
    body?: object | string,
    options: { token?: string | null; headers?: Record<string, string>; signal?: AbortSignal } = {},
  ): Promise<HttpAnswer> {
    const token = options.token === undefined ? this.token : options.token;
    const response = await fetch(`${this.url}/v1/${path}`, {
      method,
      headers: { ...(token === null ? {} : { 'X-Vault-Token': token }), ...options.headers },
      ...(body === undefined ? {} : { body: typeof body === 'string' ? body : JSON.stringify(body) }),
      ...(options.signal ? { signal: options.signal } : {}),
    });
    const text = await response.text();
    const answer = { status: response.status, headers: response.headers, text, body: parse(text) };
    checkDocumented(method, path, answer);
    return answer;
  }

  /** As `call`, and fails with what was answered when the status is another one. */
  async must(
    status: number,
    method: string,
    path: string,
    body?: object | string,
    options: Parameters<HttpClient['call']>[3] = {},
  ): Promise<HttpAnswer> {
    const answer = await this.call(method, path, body, options);
    if (answer.status !== status) {
      throw new Error(`${method} ${path}: expected ${status}, got ${answer.status} ${answer.text}`);
    }
    return answer;
  }
}

function parse(text: string): HttpBody {
  try {
    return JSON.parse(text) as HttpBody;
  } catch {
    return {} as HttpBody;
  }
}
