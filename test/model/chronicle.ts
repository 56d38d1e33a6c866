/** A broken promise; what happened until then is in the message. */
class Broken extends Error {
  override readonly name = 'Broken';
}

/** What happened in one case, and the first promise that was broken in it. */
export class Chronicle {
  private story: string[] = [];
  private broken: Broken | null = null;

  begin(): void {
    this.story = [];
    this.broken = null;
  }

  note(text: string): void {
    this.story.push(text);
  }

  violated(text: string): void {
    this.broken ??= new Broken(text);
  }

  /** @throws Broken with the first promise that was broken, if one was */
  mustBeUnbroken(): void {
    if (this.broken) throw this.broken;
  }

  tell(): string[] {
    return this.story;
  }
}
