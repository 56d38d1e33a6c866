import type { DynamicModule, LoggerService } from '@nestjs/common';
import { NestFactory } from '@nestjs/core';
import { FastifyAdapter, type NestFastifyApplication } from '@nestjs/platform-fastify';
import { HttpErrors } from './api/http-errors.js';
import { createHttpServer } from './wire/http-server.js';

/** Largest body that is read (contract.md 1.4). */
const bodyLimit = 32 * 1024 * 1024;

/** The gateway as a Nest application that does not listen yet. */
export async function createGateway(module: DynamicModule, logger: LoggerService): Promise<NestFastifyApplication> {
  const adapter = new FastifyAdapter({
    serverFactory: (handler: Parameters<typeof createHttpServer>[0]) => createHttpServer(handler),
    bodyLimit,
    // The API decides what a path means: slashes may be doubled and names may be anything.
    routerOptions: { maxParamLength: 16_384 },
  });
  const app = await NestFactory.create<NestFastifyApplication>(module, adapter, { logger, bodyParser: false });
  const fastify = adapter.getInstance();
  fastify.removeAllContentTypeParsers();
  // A body is JSON whatever its type says; the API reads the bytes itself (contract.md 1.2).
  fastify.addContentTypeParser('*', { parseAs: 'buffer' }, (_request, body, done) => done(null, body));
  app.useGlobalFilters(new HttpErrors());
  return app;
}
