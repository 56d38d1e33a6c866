import { expect, it } from '@jest/globals';
import { DataSource } from 'typeorm';
import { Accepting } from './accepting.js';
import type { Alarms } from './alarms.js';
import { IdempotentAnswers } from './idempotent-answers.js';
import { leaseTimingSchema } from './lease-timing.js';

it('asks for an acceptance to be undone until the process stops, and no longer', async () => {
  const neverConnected = new DataSource({ type: 'postgres', url: 'postgres://127.0.0.1:1/nothing' });
  const timing = leaseTimingSchema.parse({});
  const answers = new IdempotentAnswers(neverConnected.manager, timing);
  const accepting = new Accepting(neverConnected.manager, {} as Alarms, answers, timing);
  const undone = accepting.undo('aws/creds/deploy/1');
  accepting.onApplicationShutdown();
  await expect(undone).rejects.toThrow(/not.*(connect|established|initialized)/i);
});
