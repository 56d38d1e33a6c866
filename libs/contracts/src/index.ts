export * from './coded-error-wire.js';
export * from './errors.js';
export * from './lease-alarm.js';
export * from './lease-issue.js';
