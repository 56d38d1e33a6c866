export * from './revoker.module.js';
