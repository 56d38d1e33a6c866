export * from './access.env.js';
export * from './access.module.js';
export * from './caller-seal.js';
export * from './keyring.js';
export { MasterKeyRefused } from './keyring-rows.js';
export * from './seal.js';
export * from './token.entity.js';
export * from './tokens.js';
