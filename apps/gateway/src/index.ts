export { RateLimits, type RateLimitSettings } from './api/rate-limits.js';
export { GatewayModule } from './gateway.module.js';
export { createGateway, type HttpSettings } from './http.js';
export { ISSUERS } from './issuer-client.js';
