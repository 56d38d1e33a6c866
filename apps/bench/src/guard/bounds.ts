import type { Shape } from '../options.js';

/** What one request costs beyond time: exact, so that one more is seen. */
export interface Costs {
  /** Of PostgreSQL, `begin` and `commit` counted. */
  statements: number;
  /** To and from PostgreSQL; ids and instants vary in length. */
  databaseBytes: number;
  /** Published to RabbitMQ, answers counted; events, which are told together later, are not. */
  messages: number;
  /** To Redis. */
  redisCommands: number;
  awsCalls: number;
  /** Calls to AWS that must wait for one another. */
  awsSteps: number;
}

/** What is held against a reference in the same run, so that the machine's speed is in both. */
export interface Ratios {
  /** CPU of a credential, our processes together, by that of its three calls with the bare SDK. */
  cpu: number;
  /** The shortest wait for a credential by that for its calls with the bare SDK, AWS at 50 ms. */
  latency: number;
}

export const guarded = ['creds', 'revoke', 'renew', 'assumed-role', 'role-read'] as const;
export type Guarded = (typeof guarded)[number];

export interface Bounds {
  costs: Record<Guarded, Costs>;
  ratios: Ratios;
}

/** How much more bytes than the bound are still none: texts and instants are not always as long. */
export const bytesSlack = 1.05;

/**
 * What each shape may cost. Costs are as measured: whoever makes one cheaper lowers it here. Ratios are generous, as other work on
 * the machine is in them: about one and a half times what was measured.
 */
export const bounds: Record<Shape, Bounds> = {
  embedded: {
    costs: {
      creds: { statements: 8, databaseBytes: 8_200, messages: 0, redisCommands: 0, awsCalls: 3, awsSteps: 2 },
      revoke: { statements: 8, databaseBytes: 6_490, messages: 0, redisCommands: 0, awsCalls: 3, awsSteps: 2 },
      renew: { statements: 6, databaseBytes: 2_530, messages: 0, redisCommands: 0, awsCalls: 0, awsSteps: 0 },
      'assumed-role': { statements: 7, databaseBytes: 7_880, messages: 0, redisCommands: 0, awsCalls: 1, awsSteps: 1 },
      'role-read': { statements: 4, databaseBytes: 3_170, messages: 0, redisCommands: 0, awsCalls: 0, awsSteps: 0 },
    },
    ratios: { cpu: 4, latency: 1.5 },
  },
  services: {
    costs: {
      creds: { statements: 8, databaseBytes: 8_200, messages: 2, redisCommands: 0, awsCalls: 3, awsSteps: 2 },
      revoke: { statements: 8, databaseBytes: 6_490, messages: 0, redisCommands: 7, awsCalls: 3, awsSteps: 2 },
      renew: { statements: 6, databaseBytes: 2_530, messages: 0, redisCommands: 0, awsCalls: 0, awsSteps: 0 },
      'assumed-role': { statements: 7, databaseBytes: 7_880, messages: 2, redisCommands: 0, awsCalls: 1, awsSteps: 1 },
      'role-read': { statements: 4, databaseBytes: 3_170, messages: 0, redisCommands: 0, awsCalls: 0, awsSteps: 0 },
    },
    ratios: { cpu: 8, latency: 1.5 },
  },
};
