import { randomUUID } from 'node:crypto';
import { All, Controller, Req, Res } from '@nestjs/common';
import type { FastifyReply, FastifyRequest } from 'fastify';
import { databaseIsAway } from '#libs/runtime';
import { hangUpOf } from '../wire/hang-up.js';
import { verbOf } from '../wire/list-verb.js';
import { Api } from './api.js';
import { errorAnswer } from './api-error.js';
import { toBody } from './envelope.js';
import { HttpAudit, HttpEntry } from './http-audit.js';
import { readRequest } from './http-request.js';
import { refuseUnserved, tokenOf, wrapTtlOf } from './request-headers.js';
import { RequestOutcomes } from './request-outcomes.js';
import { remoteAddressOf } from './remote-address.js';
import { send, sendError, sendText } from './send.js';
import { Wrapping } from './wrapping.js';

/** The gateway's one door: mounts come and go, so their paths cannot be routes of a framework. */
@Controller()
export class ApiController {
  constructor(
    private readonly api: Api,
    private readonly outcomes: RequestOutcomes,
    private readonly audit: HttpAudit,
    private readonly wrapping: Wrapping,
  ) {}

  @All('*')
  async handle(@Req() request: FastifyRequest, @Res() reply: FastifyReply): Promise<void> {
    const id = randomUUID();
    const noted = this.outcomes.begin(id);
    const hangUp = hangUpOf(reply.raw);
    let entry = new HttpEntry();
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
      const token = tokenOf(request.headers);
      entry = this.audit.begin(id, asked, token);
      if (asked.fault) throw asked.fault;
      refuseUnserved(request.headers);
      asked.wrapTtlMs = wrapTtlOf(request.headers);
      entry.wrapTtlMs = asked.wrapTtlMs;
      const onRoute = (route: string) => void (noted.route = route);
      let answer = await this.api.handle(asked, token, id, hangUp, onRoute, entry);
      const { leaseId } = answer;
      const takeBack = async () => {
        if (!answer.undelivered || !leaseId) return;
        this.outcomes.notReceived(noted, leaseId);
        await answer.undelivered();
      };
      const takeBackBeside = () => void takeBack().catch((error: unknown) => this.outcomes.undone(noted, error));
      let sent: ReturnType<typeof toBody>;
      try {
        answer = await this.wrapping.wrap(answer, asked, id);
        sent = toBody(answer, id);
        await entry.answered(answer, sent.status, sent.body);
      } catch (error) {
        takeBackBeside();
        throw error;
      }
      if (answer.undelivered && leaseId) {
        if (hangUp.aborted) {
          this.outcomes.left(noted);
          return void (await takeBack());
        }
        hangUp.addEventListener('abort', takeBackBeside);
        reply.raw.once('close', () => {
          if (!hangUp.aborted) this.outcomes.handedOver(noted, leaseId);
        });
      }
      this.outcomes.answered(noted, sent.status);
      if (answer.text) sendText(reply, sent.status, answer.text);
      else send(reply, sent.status, sent.body, answer.headers);
    } catch (thrown) {
      const error = await entry.refused(databaseIsAway(thrown));
      const refusal = errorAnswer(error);
      this.outcomes.failed(noted, refusal.status, error, hangUp.aborted);
      sendError(reply, refusal);
    }
  }
}
