import { request } from 'node:http';

/** An answer as it came over the wire. */
export interface RawAnswer {
  status: number;
  headers: Record<string, string | string[] | undefined>;
  text: string;
  errors: string[] | undefined;
}

/**
 * One HTTP request with exactly this path, these headers and this body: `fetch` would tidy the path up and add a
 * Content-Type. `path` is whole, with `/v1/`.
 */
export function rawRequest(
  url: string,
  method: string,
  path: string,
  options: { headers?: Record<string, string>; body?: string | Buffer } = {},
): Promise<RawAnswer> {
  const { hostname, port } = new URL(url);
  return new Promise((resolve, reject) => {
    const asked = request({ hostname, port, method, path, headers: options.headers, agent: false }, (answer) => {
      const chunks: Buffer[] = [];
      answer.on('data', (chunk: Buffer) => chunks.push(chunk));
      answer.on('error', reject);
      answer.on('end', () => {
        const text = Buffer.concat(chunks).toString('utf8');
        resolve({ status: answer.statusCode ?? 0, headers: answer.headers, text, errors: errorsOf(text) });
      });
    });
    asked.on('error', reject);
    asked.end(options.body);
  });
}

function errorsOf(text: string): string[] | undefined {
  try {
    return (JSON.parse(text) as { errors?: string[] }).errors;
  } catch {
    return undefined;
  }
}
