import { type DynamicModule, Module } from '@nestjs/common';

/** A lease that is due already. */
export interface DueNow {
  id: string;
  mountId: string;
}

/**
 * Says in one process that leases are due. Where who asks for their end and who takes them back are the same process, no alarm has
 * to go through the queue and come back.
 */
export class Bell {
  private hearer: ((leases: DueNow[]) => void) | null = null;

  /** Whoever takes leases back in this process hears it from now on; null: nobody any more. */
  heardBy(hearer: ((leases: DueNow[]) => void) | null): void {
    this.hearer = hearer;
  }

  /** @returns whether somebody has heard. */
  ring(leases: DueNow[]): boolean {
    this.hearer?.(leases);
    return this.hearer !== null;
  }
}

/** Gives the applications of one process the same bell. */
@Module({})
export class BellModule {
  static of(bell: Bell): DynamicModule {
    return { module: BellModule, global: true, providers: [{ provide: Bell, useValue: bell }], exports: [Bell] };
  }
}
