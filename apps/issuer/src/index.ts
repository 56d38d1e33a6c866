export * from './issuer.module.js';
