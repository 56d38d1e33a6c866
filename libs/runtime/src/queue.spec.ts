import { BullModule, getQueueToken } from '@nestjs/bullmq';
import { Module } from '@nestjs/common';
import { NestFactory } from '@nestjs/core';
import { afterEach, expect, it, jest } from '@jest/globals';
import { Queue } from 'bullmq';
import { JsonLog } from './log.js';
import { queueModule } from './queue.js';

@Module({})
class Root {}

afterEach(() => {
  jest.restoreAllMocks();
});

it('tells the failure of a queue in one line of the log, and prints nothing', async () => {
  const printed = jest.spyOn(console, 'error').mockReturnValue(undefined);
  const log: string[] = [];
  const imports = [
    queueModule({ url: 'postgres://nobody:none@127.0.0.1:1/none' }),
    BullModule.registerQueue({ name: 'alarms' }),
  ];
  const app = await NestFactory.createApplicationContext(
    { module: Root, imports },
    { logger: new JsonLog({ write: (line: string) => void log.push(line) }), abortOnError: false },
  );
  app.get<Queue>(getQueueToken('alarms')).emit('error', new Error('it is away'));
  expect(log.filter((line) => line.includes('it is away')).map((line) => JSON.parse(line) as unknown)).toEqual([
    expect.objectContaining({ level: 40, msg: 'the queue cannot be used', queue: 'alarms', error: 'it is away' }),
  ]);
  expect(printed).not.toHaveBeenCalled();
  await app.close().catch(() => undefined);
});
