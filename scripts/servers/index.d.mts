/** A server of this run's own. */
export interface Server {
  /** With credentials. */
  url: string;
  pid: number;
  /** Ends it; data stays. */
  stop(): Promise<void>;
  /** SIGKILL. */
  kill(): Promise<void>;
  /** Brings it up again on the same port and data. */
  start(): Promise<void>;
  /** Stops it from doing anything, its connections open, until it is thawed. */
  freeze(): Promise<void>;
  thaw(): Promise<void>;
}
type Say = (line: string) => void;
/** PEM texts: speaks TLS alone, with who shows a certificate of this authority. */
interface Tls {
  ca: string;
  cert: string;
  key: string;
}
export class ServersRefused extends Error {}
export function startRedis(options: {
  folder: string;
  say?: Say;
  port?: number;
  password?: string;
  tls?: Tls;
}): Promise<Server>;
export function startRabbitmq(options: { folder: string; say?: Say; port?: number; tls?: Tls }): Promise<Server>;
