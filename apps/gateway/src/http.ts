import { randomUUID } from 'node:crypto';
import type { IncomingMessage } from 'node:http';
import type { DynamicModule, LoggerService } from '@nestjs/common';
import { NestFactory } from '@nestjs/core';
import { FastifyAdapter, type NestFastifyApplication } from '@nestjs/platform-fastify';
import type { FastifyReply, FastifyRequest } from 'fastify';
import type { LeaseTiming } from '#libs/leases';
import type { Health } from '#libs/runtime';
import { Admission } from './api/admission.js';
import { HttpErrors } from './api/http-errors.js';
import { formType, isForm } from './api/http-request.js';
import { RequestOutcomes } from './api/request-outcomes.js';
import { send, sendText } from './api/send.js';
import { longestAnswerMs } from './longest-answer.js';
import { refuseComplexForm, refuseComplexJson } from './wire/body-complexity.js';
import { createHttpServer, type ServerTls } from './wire/http-server.js';
import { defaultLimits, type WireLimits } from './wire/wire-limits.js';

/** What a gateway is told of its callers' side; a default for everything. */
export interface HttpSettings {
  /** HTTPS, and nothing but HTTPS. */
  tls?: ServerTls;
  limits?: Partial<WireLimits>;
  /** Addresses and networks whose `X-Forwarded-For` is believed. */
  trustedProxies?: string[];
}

/** The gateway as a Nest application that does not listen yet; `health` is what it answers load balancers with. */
export async function createGateway(
  module: DynamicModule,
  {
    logger,
    health,
    timing,
    http = {},
  }: { logger: LoggerService; health: Health; timing: LeaseTiming; http?: HttpSettings },
): Promise<NestFastifyApplication> {
  const { tls, trustedProxies = [] } = http;
  const limits = { ...defaultLimits, ...http.limits };
  const admission = new Admission(limits);
  const adapter = new FastifyAdapter({
    serverFactory: (handler: Parameters<typeof createHttpServer>[0]) =>
      createHttpServer(handler, { ...limits, tls, answerMs: longestAnswerMs(timing) }),
    ...(trustedProxies.length > 0 && { trustProxy: trustedProxies }),
    genReqId: () => randomUUID(),
    // A path whose percent-encoding is broken reaches no route (contract.md 1.7).
    frameworkErrors: (_error: Error, _request: FastifyRequest, reply: FastifyReply) => send(reply, 400, { errors: [] }),
    // The API decides what a path means: slashes may be doubled and names may be anything.
    routerOptions: { maxParamLength: 1024 * 1024 },
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
  fastify.addHook('onRequest', (request, reply, done) => {
    const { headers } = request.raw;
    if (headers['content-type']?.startsWith(formType)) headers['content-type'] = formType;
    else delete headers['content-type'];
    try {
      // How it is, a load balancer must hear also of a gateway that is too busy.
      admission.enter(request.raw, reply.raw, request.url.startsWith('/health/'));
      done();
    } catch (error) {
      done(error as Error);
    }
  });
  fastify.addContentTypeParser('*', async (request: FastifyRequest, payload: IncomingMessage) => {
    const body = await admission.read(payload);
    if (request.method === 'GET' || request.method === 'DELETE') return body; // nobody will parse it
    if (isForm(body, request.headers['content-type'])) refuseComplexForm(body, limits);
    else refuseComplexJson(body, limits);
    return body;
  });
  app.useGlobalFilters(new HttpErrors(app.get(RequestOutcomes)));
  // There are no pages here (contract.md 1.1).
  for (const url of ['/', '/ui', '/ui/*']) {
    fastify.all(url, (_request, reply) =>
      sendText(reply, 404, { type: 'text/plain; charset=utf-8', body: '404 page not found\n' }),
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
