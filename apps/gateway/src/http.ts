import type { DynamicModule, LoggerService } from '@nestjs/common';
import { NestFactory } from '@nestjs/core';
import { FastifyAdapter, type NestFastifyApplication } from '@nestjs/platform-fastify';
import type { FastifyReply, FastifyRequest } from 'fastify';
import type { Health } from '#libs/runtime';
import { HttpErrors } from './api/http-errors.js';
import { formType } from './api/http-request.js';
import { send } from './api/send.js';
import { createHttpServer } from './wire/http-server.js';

/** Largest body that is read (contract.md 1.4). */
const bodyLimit = 32 * 1024 * 1024;

/** The gateway as a Nest application that does not listen yet; `health` is what it answers load balancers with. */
export async function createGateway(
  module: DynamicModule,
  { logger, health }: { logger: LoggerService; health: Health },
): Promise<NestFastifyApplication> {
  const adapter = new FastifyAdapter({
    serverFactory: (handler: Parameters<typeof createHttpServer>[0]) => createHttpServer(handler),
    bodyLimit,
    // A path whose percent-encoding is broken reaches no route (contract.md 1.7).
    frameworkErrors: (_error: Error, _request: FastifyRequest, reply: FastifyReply) => send(reply, 400, { errors: [] }),
    // The API decides what a path means: slashes may be doubled and names may be anything.
    routerOptions: { maxParamLength: 16_384 },
    // A request that came over a kept-alive connection while the gateway stops is served like any other.
    return503OnClosing: false,
  });
  const app = await NestFactory.create<NestFastifyApplication>(module, adapter, {
    logger,
    bodyParser: false,
    abortOnError: false,
  });
  const fastify = adapter.getInstance();
  fastify.removeAllContentTypeParsers();
  // A body is JSON whatever its type says, be it one that Fastify would refuse; the API reads the bytes itself
  // (contract.md 1.2).
  fastify.addHook('onRequest', (request, _reply, done) => {
    const { headers } = request.raw;
    if (headers['content-type']?.startsWith(formType)) headers['content-type'] = formType;
    else delete headers['content-type'];
    done();
  });
  fastify.addContentTypeParser('*', { parseAs: 'buffer' }, (_request, body, done) => done(null, body));
  app.useGlobalFilters(new HttpErrors());
  // There are no pages here (contract.md 1.1).
  for (const url of ['/', '/ui', '/ui/*']) {
    fastify.all(url, (_request, reply) =>
      reply.status(404).type('text/plain; charset=utf-8').send('404 page not found\n'),
    );
  }
  fastify.get('/health/live', (_request, reply) => send(reply, 200, { live: true }));
  fastify.get('/health/ready', async (_request, reply) => {
    const readiness = await health.readiness();
    send(reply, readiness.ready ? 200 : 503, { ...readiness });
    return reply;
  });
  return app;
}
