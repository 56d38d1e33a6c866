import { randomUUID } from 'node:crypto';
import { All, Controller, Req, Res } from '@nestjs/common';
import type { FastifyReply, FastifyRequest } from 'fastify';
import { databaseIsAway } from '#libs/runtime';
import { hangUpOf } from '../wire/hang-up.js';
import { verbOf } from '../wire/list-verb.js';
import { Api } from './api.js';
import { errorAnswer } from './api-error.js';
import { toBody } from './envelope.js';
import { readRequest } from './http-request.js';
import { refuseUnserved, tokenOf } from './request-headers.js';
import { RequestOutcomes } from './request-outcomes.js';
import { remoteAddressOf } from './remote-address.js';
import { send, sendError, sendText } from './send.js';

/** The gateway's one door: mounts come and go, so their paths cannot be routes of a framework. */
@Controller()
export class ApiController {
  constructor(
    private readonly api: Api,
    private readonly outcomes: RequestOutcomes,
  ) {}

  @All('*')
  async handle(@Req() request: FastifyRequest, @Res() reply: FastifyReply): Promise<void> {
    const id = randomUUID();
    const noted = this.outcomes.begin(id);
    const hangUp = hangUpOf(reply.raw);
    try {
      const asked = readRequest(
        verbOf(request.raw),
        request.raw.url ?? '/',
        request.body as Buffer | undefined,
        // As it was sent: Fastify has been shown another one.
        request.raw.headersDistinct['content-type']?.[0],
      );
      asked.remoteAddress = remoteAddressOf(request);
      asked.accept = request.headers.accept;
      asked.idempotencyKey = request.headers['idempotency-key']?.toString();
      noted.operation = asked.help ? 'help' : asked.operation;
      refuseUnserved(request.headers);
      const answer = await this.api.handle(asked, tokenOf(request.headers), id, hangUp, (route) => {
        noted.route = route;
      });
      const { undelivered, leaseId } = answer;
      if (undelivered && leaseId) {
        const takeBack = () => {
          this.outcomes.notReceived(noted, leaseId);
          return undelivered();
        };
        if (hangUp.aborted) {
          this.outcomes.left(noted);
          return void (await takeBack());
        }
        hangUp.addEventListener(
          'abort',
          () => void takeBack().catch((error: unknown) => this.outcomes.undone(noted, error)),
        );
        reply.raw.once('close', () => {
          if (!hangUp.aborted) this.outcomes.handedOver(noted, leaseId);
        });
      }
      const { status, body } = toBody(answer, id);
      this.outcomes.answered(noted, status);
      if (answer.text) sendText(reply, status, answer.text);
      else send(reply, status, body, answer.headers);
    } catch (thrown) {
      const error = databaseIsAway(thrown);
      const refusal = errorAnswer(error);
      this.outcomes.failed(noted, refusal.status, error, hangUp.aborted);
      sendError(reply, refusal);
    }
  }
}
