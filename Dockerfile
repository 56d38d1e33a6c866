# One image for gateway, issuer, revoker and migrate: the command says which. 24 is a long-term release of Node; the pinned
# packages ask for 24.11 or newer of it.
FROM node:24-bookworm-slim AS base
WORKDIR /leasehold
COPY package.json package-lock.json .npmrc ./

FROM base AS build
RUN npm ci
COPY tsconfig.json ./
COPY libs libs
COPY apps apps
RUN npm run build

FROM base AS dependencies
RUN npm ci --omit=dev --omit=optional

# IAM and STS for a trial. Node and its own files are all that it needs.
FROM base AS simulator
RUN mkdir /var/lib/simulator && chown node:node /var/lib/simulator
COPY --from=build /leasehold/dist/apps/simulator dist/apps/simulator
ENV NODE_ENV=production SIMULATOR_HOST=0.0.0.0
USER node
CMD ["node", "--enable-source-maps", "dist/apps/simulator/src/main.js"]

FROM base AS production
COPY --from=dependencies /leasehold/node_modules node_modules
COPY --from=build /leasehold/dist/libs dist/libs
COPY --from=build /leasehold/dist/apps/gateway dist/apps/gateway
COPY --from=build /leasehold/dist/apps/issuer dist/apps/issuer
COPY --from=build /leasehold/dist/apps/revoker dist/apps/revoker
COPY --from=build /leasehold/dist/apps/migrate dist/apps/migrate
# In a container 127.0.0.1 is the container's own.
ENV NODE_ENV=production LEASEHOLD_HOST=0.0.0.0 LEASEHOLD_OPERATIONS_HOST=0.0.0.0
EXPOSE 8200 9102
USER node
CMD ["node", "--enable-source-maps", "dist/apps/gateway/src/main.js"]
