import type { Server } from 'node:http';
import { Logger } from '@nestjs/common';
import { renewTls, type ServerTls } from './wire/http-server.js';

/** How often files are looked at that may have been renewed, milliseconds. */
const lookEveryMs = 60_000;

/**
 * Serves with a renewed certificate as soon as `read` gives one: once a minute, and at once on SIGHUP. What cannot be used
 * is told to the log, and the server goes on with what it has. Connections that are open keep theirs.
 */
export function keepRenewed(server: Server, read: () => ServerTls | undefined): { stop(): void } {
  const logger = new Logger('Tls');
  let current = JSON.stringify(read());
  const look = () => {
    try {
      const tls = read();
      const found = JSON.stringify(tls);
      if (!tls || found === current) return;
      renewTls(server, tls);
      current = found;
      logger.log({ msg: 'the certificate was renewed' });
    } catch (error) {
      logger.error({ msg: 'the certificate cannot be renewed; serving with the one before', error: String(error) });
    }
  };
  const timer = setInterval(look, lookEveryMs).unref();
  process.on('SIGHUP', look);
  return {
    stop() {
      clearInterval(timer);
      process.off('SIGHUP', look);
    },
  };
}
