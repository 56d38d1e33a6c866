export * from './database.js';
export * from './embedded-postgres.js';
export * from './log.js';
export * from './memory-transport.js';
export * from './queue.js';
export * from './rpc-errors.js';
export * from './start-refused.js';
