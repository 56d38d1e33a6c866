import { createServer, type Server } from 'node:http';
import type { LoggerService } from '@nestjs/common';
import { pino } from 'pino';
import type { z } from 'zod';
import { type processEnv, readEnvironment } from './environment.js';
import { Health } from './health.js';
import { JsonLog } from './log.js';
import { Metrics } from './metrics.js';
import { StartRefused } from './start-refused.js';

/** What the process gives to the service that runs in it. */
export interface Host {
  logger: LoggerService;
  health: Health;
  metrics: Metrics;
}

/** A service that runs. */
export interface Running {
  /** Takes nothing new and lets what was begun finish. */
  close(): Promise<void>;
  /** Longest time for that, milliseconds, after which the process ends all the same: a server may be silent. Default 30,000. */
  stopsWithinMs?: number;
}

/**
 * Runs one service as this process until SIGTERM or SIGINT: reads its environment, answers health and metrics from the
 * first moment on, starts it, stops it. `start` may wait for dependencies as long as it takes; what it refuses with a
 * StartRefused ends the process with that sentence.
 */
export async function runService<Schema extends z.ZodObject<typeof processEnv.shape>>(
  name: string,
  schema: Schema,
  start: (env: z.output<Schema>, host: Host) => Promise<Running>,
): Promise<void> {
  // The SDK's version is pinned, and tried on the Node that the project asks for.
  process.env.AWS_SDK_JS_NODE_VERSION_SUPPORT_WARNING_DISABLED = 'true';
  try {
    const warnings: string[] = [];
    const env = readEnvironment(name, schema, process.env, (sentence) => warnings.push(sentence));
    const common = env as unknown as z.output<typeof processEnv>;
    const logger = new JsonLog(pino.destination(1), common.LEASEHOLD_LOG_LEVEL, { service: name });
    const host: Host = { logger, health: new Health(), metrics: new Metrics(name) };
    host.metrics.watchProcess();
    host.metrics.gauge('leasehold_ready', 'Whether this process can serve: 1, or 0.', async () =>
      (await host.health.readiness()).ready ? 1 : 0,
    );
    const operations = await listen(host, common.LEASEHOLD_OPERATIONS_HOST, common.LEASEHOLD_OPERATIONS_PORT);
    logger.log({ msg: `${name} starts`, operations: portOf(operations) });
    for (const sentence of warnings) logger.warn({ msg: sentence });
    if (common.LEASEHOLD_OBSERVE) {
      host.health.observing();
      logger.warn({
        msg: `${name} observes: nothing is issued, expired or revoked until LEASEHOLD_OBSERVE is taken away`,
      });
    }
    let running: Running | null = null;
    let stoppedBy = '';
    const stop = async (signal: string) => {
      // The same signal again means: at once. Another one comes from a parent that passes on what the terminal sent to both.
      if (stoppedBy === signal) process.exit(130);
      if (stoppedBy) return;
      stoppedBy = signal;
      host.health.stopping();
      logger.log({ msg: `${name} stops`, signal });
      const { stopsWithinMs = 30_000 } = running ?? {};
      setTimeout(() => {
        logger.error({ msg: `${name} ends without what it still waits for`, afterMs: stopsWithinMs });
        process.exit(1);
      }, stopsWithinMs);
      try {
        await running?.close();
      } catch (error) {
        logger.error({ msg: `${name} did not stop cleanly`, error: String(error) });
      }
      process.exit(0);
    };
    for (const signal of ['SIGTERM', 'SIGINT'] as const) process.on(signal, () => void stop(signal));
    running = await start(env, host);
    host.health.serving();
    logger.log({ msg: `${name} serves` });
  } catch (error) {
    process.stderr.write(
      `${error instanceof StartRefused ? error.message : ((error as Error).stack ?? String(error))}\n`,
    );
    process.exit(1);
  }
}

/** The sentence for a port that `variable` names and that this process cannot have; any other error as it is. */
export function cannotListen(variable: string, port: number, host: string, error: unknown): Error {
  const { code } = error as NodeJS.ErrnoException;
  const why = {
    EADDRINUSE: 'it is in use',
    EACCES: 'this user may not open it',
    EADDRNOTAVAIL: 'this machine has no such address',
    ENOTFOUND: 'there is no such host',
  }[code ?? ''];
  if (!why) return error as Error;
  return new StartRefused(`${variable} ${port} of ${host} cannot be listened on: ${why}.`, { cause: error });
}

/** Answers `/health/live`, `/health/ready` and `/metrics`, for those who run the process; callers never come here. */
async function listen({ health, metrics }: Host, host: string, port: number): Promise<Server> {
  const server = createServer((request, response) => {
    const answer = (status: number, type: string, body: string) =>
      response.writeHead(status, { 'content-type': type, 'cache-control': 'no-store' }).end(body);
    const json = (status: number, body: object) => answer(status, 'application/json', `${JSON.stringify(body)}\n`);
    switch (request.url) {
      case '/health/live':
        return json(200, { live: true });
      case '/health/ready':
        return void health.readiness().then((readiness) => json(readiness.ready ? 200 : 503, readiness));
      case '/metrics':
        return void metrics.text().then((text) => answer(200, metrics.contentType, text));
      default:
        return json(404, { errors: ['There are /health/live, /health/ready and /metrics.'] });
    }
  });
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject);
    server.listen(port, host, resolve);
  }).catch((error: unknown) => {
    throw cannotListen('LEASEHOLD_OPERATIONS_PORT', port, host, error);
  });
  return server;
}

function portOf(server: Server): number | undefined {
  const address = server.address();
  return address && typeof address === 'object' ? address.port : undefined;
}
