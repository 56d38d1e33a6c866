import type { IncomingMessage, ServerResponse } from 'node:http';
import { InvalidRequest, Unavailable } from '#libs/contracts';
import type { WireLimits } from '../wire/wire-limits.js';

/** The body is larger than any that is read (contract 1.4). */
export class BodyTooLarge extends Error {
  override readonly message = 'http: request body too large';
  readonly statusCode = 413;
}

/** What all callers together have under way at one gateway is bounded, so that its memory is. */
export class Admission {
  private requests = 0;
  /** Bytes of bodies that are in memory. */
  private held = 0;
  private readonly answers = new WeakMap<IncomingMessage, ServerResponse>();

  constructor(private readonly limits: WireLimits) {}

  /** Lets a request in until its answer is over; one that `mustBeHeard`, however many there are. @throws Unavailable */
  enter(request: IncomingMessage, answer: ServerResponse, mustBeHeard: boolean): void {
    if (this.requests >= this.limits.requests && !mustBeHeard) throw tooMuch('Too many requests are being answered');
    this.answers.set(request, answer);
    this.requests += 1;
    answer.once('close', () => (this.requests -= 1));
  }

  /**
   * The whole body of a request that was let in; it counts until the answer is over.
   * @throws BodyTooLarge; Unavailable when all bodies together are too much; InvalidRequest when it breaks off.
   */
  async read(body: IncomingMessage): Promise<Buffer> {
    const { bodyBytes, bodiesBytes } = this.limits;
    if (Number(body.headers['content-length'] ?? 0) > bodyBytes) throw new BodyTooLarge();
    const chunks: Buffer[] = [];
    let length = 0;
    this.answers.get(body)?.once('close', () => (this.held -= length));
    const whole = new Promise<void>((resolve, reject) => {
      body.once('end', resolve);
      body.once('close', () => reject(new InvalidRequest('the body broke off')));
      body.on('data', (chunk: Buffer) => {
        chunks.push(chunk);
        length += chunk.length;
        this.held += chunk.length;
        if (length > bodyBytes) reject(new BodyTooLarge());
        else if (this.held > bodiesBytes) reject(tooMuch('Too much is being sent'));
      });
    });
    try {
      await whole;
      return Buffer.concat(chunks, length);
    } finally {
      body.removeAllListeners('data'); // what still comes of a refused one is let go by Node
      chunks.length = 0;
    }
  }
}

function tooMuch(what: string): Unavailable {
  return new Unavailable(`${what} at this moment; try again in a moment.`, { retryAfterSeconds: 1 });
}
