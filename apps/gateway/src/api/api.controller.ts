import { randomUUID } from 'node:crypto';
import { All, Controller, Logger, Req, Res } from '@nestjs/common';
import type { FastifyReply, FastifyRequest } from 'fastify';
import { CodedError } from '#libs/contracts';
import { databaseIsAway } from '#libs/runtime';
import { isListVerb } from '../wire/list-verb.js';
import { Api } from './api.js';
import { errorAnswer } from './api-error.js';
import { toBody } from './envelope.js';
import { readRequest } from './http-request.js';
import { refuseUnserved, tokenOf } from './request-headers.js';
import { send } from './send.js';

/** The gateway's one door: mounts come and go, so their paths cannot be routes of a framework. */
@Controller()
export class ApiController {
  private readonly logger = new Logger(ApiController.name);

  constructor(private readonly api: Api) {}

  @All('*')
  async handle(@Req() request: FastifyRequest, @Res() reply: FastifyReply): Promise<void> {
    const id = randomUUID();
    const hangUp = new AbortController();
    reply.raw.once('close', () => {
      if (!reply.raw.writableFinished) hangUp.abort();
    });
    try {
      const asked = readRequest(
        request.method,
        request.raw.url ?? '/',
        isListVerb(request.raw),
        request.body as Buffer | undefined,
        request.headers['content-type'],
      );
      refuseUnserved(request.headers);
      const answer = await this.api.handle(asked, tokenOf(request.headers), id, hangUp.signal);
      const { undelivered } = answer;
      if (undelivered) {
        if (hangUp.signal.aborted) return void (await undelivered());
        hangUp.signal.addEventListener(
          'abort',
          () => void undelivered().catch((error: unknown) => this.tell(error, id)),
        );
      }
      const { status, body } = toBody(answer, id);
      send(reply, status, body);
    } catch (thrown) {
      const error = databaseIsAway(thrown);
      this.tell(error, id);
      const { status, errors } = errorAnswer(error);
      send(reply, status, { errors });
    }
  }

  private tell(error: unknown, requestId: string): void {
    if (error instanceof CodedError && error.code !== 'internal') return;
    this.logger.error({
      msg: 'request failed',
      requestId,
      error: error instanceof Error ? error.stack : String(error),
    });
  }
}
