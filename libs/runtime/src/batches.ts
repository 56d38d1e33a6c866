/**
 * Classes of what PostgreSQL answers when one of a batch is at fault: that it is there twice (21), what it was given (22), what it
 * would break (23), or whom it met at a lock (40).
 */
const faultsOfOne = /^(21|22|23|40)/;

interface Asked<Item, Answer> {
  item: Item;
  answer(this: void, answer: Answer | Promise<Answer>): void;
  fail(this: void, error: unknown): void;
}

/**
 * One statement for all who want the same of the database at the same time. While it is on its way those who come wait, and go
 * together as the next one: who is alone waits for nobody, and nobody is answered by a statement that began before it asked.
 * The busier a process is, the fewer statements, commits and locks each of its requests costs.
 */
export class Batches<Item, Answer> {
  private readonly waiting = new Map<string, Asked<Item, Answer>[]>();

  /**
   * @param run asks for all of them at once, and answers each at its place: with what may fail for it alone (a promise), or with
   * undefined for who has to wait for a lock, or has no answer yet. That one is asked for once more by itself, `alone`, which may
   * wait and holds up nobody. What it writes is one statement, so that a fault of one of them (a value that PostgreSQL does not
   * take, a deadlock) leaves nothing behind, and every one is asked for again by itself.
   * @param most how many are asked for together: a statement that takes thousands would hold up those behind it.
   */
  constructor(
    private readonly run: (items: Item[], alone: boolean) => Promise<(Answer | Promise<Answer> | undefined)[]>,
    private readonly most = 200,
  ) {}

  /**
   * @param lane those of one lane wait for each other and for nobody else: what may have to wait for a lock has the lock's name.
   * @throws as `run`
   */
  ask(item: Item, lane = ''): Promise<Answer> {
    return new Promise((answer, fail) => {
      const asked = { item, answer, fail };
      const waiting = this.waiting.get(lane);
      if (waiting) {
        waiting.push(asked);
        return;
      }
      this.waiting.set(lane, [asked]);
      // Who asks in the same turn is asked for together.
      queueMicrotask(() => void this.serve(lane));
    });
  }

  private async serve(lane: string): Promise<void> {
    const waiting = this.waiting.get(lane)!;
    while (waiting.length > 0) await this.together(waiting.splice(0, this.most));
    this.waiting.delete(lane);
  }

  private async together(batch: Asked<Item, Answer>[]): Promise<void> {
    try {
      const answers = await this.run(
        batch.map(({ item }) => item),
        false,
      );
      batch.forEach((asked, nth) => {
        const answer = answers[nth];
        asked.answer(answer === undefined ? this.alone(asked.item) : answer);
      });
    } catch (error) {
      if (batch.length > 1 && faultsOfOne.test((error as { code?: string }).code ?? '')) {
        for (const one of batch) await this.together([one]);
        return;
      }
      for (const { fail } of batch) fail(error);
    }
  }

  private async alone(item: Item): Promise<Answer> {
    const [answer] = await this.run([item], true);
    return answer!;
  }
}
