import { Injectable } from '@nestjs/common';
import { Counting } from '#libs/leases';
import { Metrics } from '#libs/runtime';
import { z } from 'zod';
import type { Answers } from '../api/answers.js';
import { type ApiAnswer, type ApiPart, type ApiPath, operation, type TokenRequest } from '../api/api-path.js';
import { stringField } from '../wire/fields.js';

const wish = z.object({ format: stringField().describe('"prometheus", or empty for JSON.') });

const labels = z.record(z.string(), z.string());
const counted = { Name: z.string(), Count: z.number(), Sum: z.number(), Labels: labels };
const figures: Answers = {
  200: {
    kind: 'bare',
    schema: z.strictObject({
      Timestamp: z.string(),
      Gauges: z.array(z.strictObject({ Name: z.string(), Value: z.number(), Labels: labels })),
      Points: z.array(z.unknown()),
      Counters: z.array(z.strictObject(counted)),
      Samples: z.array(z.strictObject({ ...counted, Mean: z.number() })),
    }),
  },
};

/** `sys/metrics`: the figures of this gateway, for who has a token (contract.md 3.6). */
@Injectable()
export class MetricsPath implements ApiPart<TokenRequest<unknown>> {
  constructor(
    private readonly metrics: Metrics,
    counting: Counting,
  ) {
    counting.show(metrics);
  }

  paths(): ApiPath<TokenRequest<unknown>>[] {
    return [
      {
        pattern: 'sys/metrics',
        synopsis: 'The figures of this server.',
        description:
          'JSON, or text for Prometheus: with format=prometheus, or for who accepts application/openmetrics-text.\n' +
          'They are those of the process that answers, counted from its start.',
        operations: { read: operation(wish, ({ fields, accept }) => this.read(fields.format, accept), figures) },
      },
    ];
  }

  private async read(format: string | undefined, accept: string): Promise<ApiAnswer> {
    const wanted = format || (accept.startsWith('application/openmetrics-text') ? 'prometheus' : '');
    switch (wanted) {
      case '':
        return { bare: { ...(await this.metrics.json()) } };
      case 'prometheus':
        return { text: { type: this.metrics.contentType, body: await this.metrics.text() } };
      default:
        return { status: 400, text: { type: 'text/plain', body: `metric response format "${wanted}" unknown` } };
    }
  }
}
