/**
 * The process cannot start as it was asked to. The message is the whole sentence for the person at the terminal: what is
 * wrong and what to do about it. Callers print it alone, without a stack.
 */
export class StartRefused extends Error {
  constructor(message: string, options: { cause?: unknown } = {}) {
    super(message, options);
    this.name = 'StartRefused';
  }
}
