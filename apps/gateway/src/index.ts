export { GatewayModule } from './gateway.module.js';
export { createGateway } from './http.js';
export { ISSUERS } from './issuer-client.js';
