export * from './leasehold-client.js';
