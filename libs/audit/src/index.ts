export * from './audit.env.js';
export * from './audit.module.js';
export * from './audit-record.js';
export * from './audit-trail.js';
