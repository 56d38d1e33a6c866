import { execFileSync, spawnSync } from 'node:child_process';
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join, relative, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import amqp, { type ConfirmChannel } from 'amqplib';
import { DCLinter } from 'dclint';
import { Redis } from 'ioredis';
import { readEnvironment } from '#libs/runtime';
import { parse } from 'yaml';
import type { z } from 'zod';
import { type Kind, Fleet } from '../../apps/cluster/src/fleet.js';
import { gatewayEnv } from '../../apps/gateway/src/gateway.env.js';
import { issuerEnv } from '../../apps/issuer/src/issuer.env.js';
import { migrateEnv } from '../../apps/migrate/src/migrate.env.js';
import { revokerEnv } from '../../apps/revoker/src/revoker.env.js';
import type { RunningSystem, SystemOptions } from '../../apps/standalone/src/system.js';
import { eventually, type LentKeys, World } from '../support/world.js';

// What can be known of containers where there are none. The images were never built and never started by this.

const root = fileURLToPath(new URL('../..', import.meta.url));
const inRoot = (path: string) => join(root, path);
const textOf = (path: string) => readFileSync(inRoot(path), 'utf8');

interface ComposeService {
  image: string;
  build?: { context: string; target: string };
  command?: string[];
  environment?: Record<string, string>;
  volumes?: string[];
  ports?: string[];
  networks: string[];
  profiles?: string[];
  restart: string;
  deploy?: { replicas: number };
  depends_on?: Record<string, { condition: string }>;
  healthcheck?: { test: string[] };
  user?: string;
}
interface ComposeFile {
  services: Record<string, ComposeService>;
  networks: Record<string, { internal?: boolean } | null>;
  volumes: Record<string, null>;
}

const composeText = textOf('docker-compose.yml');
const compose = parse(composeText, { merge: true }) as ComposeFile;
const { services } = compose;
const ours = { gateway: gatewayEnv, issuer: issuerEnv, revoker: revokerEnv, migrate: migrateEnv };
const lasting = ['gateway', 'issuer', 'revoker'] as const;

/** What a person puts into .env, made as the file's first lines say. */
const dotEnv = Object.fromEntries(
  ['dist/apps/migrate/src/keys.js', 'deploy/passwords.mjs']
    .flatMap((script) => execFileSync(process.execPath, [script], { cwd: root, encoding: 'utf8' }).trim().split('\n'))
    .map((line) => [line.slice(0, line.indexOf('=')), line.slice(line.indexOf('=') + 1)]),
) as Record<string, string>;

/** The text with its variables filled, by the rules of the compose specification that the file uses. */
function filled(text: string, variables: Record<string, string> = dotEnv): string {
  return text.replaceAll(/\$\$|\$\{(\w+)(?::([-?])([^}]*))?\}/g, (whole, name: string, kind: string, rest: string) => {
    if (whole === '$$') return '$';
    if (variables[name]) return variables[name];
    if (kind === '-') return rest;
    throw new Error(`${name} is missing${rest ? `: ${rest}` : ''}`);
  });
}

function environmentOf(service: string): Record<string, string> {
  const given = Object.entries(services[service]!.environment ?? {});
  return Object.fromEntries(given.map(([name, value]) => [name, filled(value)]));
}

interface Stage {
  name: string;
  from: string;
  lines: { instruction: string; words: string[] }[];
}

const stages = textOf('Dockerfile')
  .replaceAll(/^\s*#.*\n/gm, '')
  .replaceAll('\\\n', ' ')
  .split('\n')
  .filter((line) => line.trim())
  .reduce<Stage[]>((found, line) => {
    const [instruction, ...words] = line.trim().split(/\s+/) as [string, ...string[]];
    if (instruction === 'FROM') found.push({ from: words[0]!, name: words[2]!, lines: [] });
    else found.at(-1)!.lines.push({ instruction, words });
    return found;
  }, []);
const stage = (name: string) => stages.find((found) => found.name === name)!;
const linesOf = (name: string, instruction: string) =>
  stage(name)
    .lines.filter((line) => line.instruction === instruction)
    .map((line) => line.words);
const images = ['production', 'simulator'];

/** What a stage takes from the build: folders of the compiled output. */
const compiledIn = (name: string) =>
  linesOf(name, 'COPY')
    .filter((words) => words[0] === '--from=build')
    .map((words) => words[1]!.replace('/leasehold/', ''));

describe('the images', () => {
  it('run on a long-term release of Node, and not as root', () => {
    expect(stage('base').from).toMatch(/^node:24-/);
    for (const image of images) {
      expect(stage(image).from).toBe('base');
      expect(stage(image).lines.findLast(({ instruction }) => /USER|RUN|COPY/.test(instruction))).toEqual({
        instruction: 'USER',
        words: ['node'],
      });
    }
  });

  it('are made of files that exist, and let no other in', () => {
    const ignore = textOf('.dockerignore').split('\n');
    expect(ignore[1]).toBe('*');
    expect(ignore).toEqual(expect.arrayContaining(['**/*.spec.ts', '**/*.spec-stub.ts']));
    const letIn = ignore.filter((line) => line.startsWith('!')).map((line) => line.slice(1));
    for (const { lines } of stages) {
      for (const { words } of lines.filter(({ instruction }) => instruction === 'COPY')) {
        const [from, ...paths] = words[0]!.startsWith('--from=') ? words : ['', ...words];
        for (const path of paths.slice(0, -1)) {
          expect([path, existsSync(resolve(root, path.replace('/leasehold/', '')))]).toEqual([path, true]);
          const inside = (folder: string) => folder === path || folder.startsWith(`${path}/`);
          if (from === '') expect([path, letIn.some(inside)]).toEqual([path, true]);
          else expect(stages.map(({ name }) => `--from=${name}`)).toContain(from);
        }
      }
    }
    expect(letIn.filter((path) => !existsSync(inRoot(path)))).toEqual([]);
    expect(letIn.filter((path) => path.startsWith('apps')).map((path) => path.slice('apps/'.length))).toEqual(
      [...Object.keys(ours), 'simulator'].toSorted(),
    );
  });

  it('for production hold the services and what these import: no simulator, no test, no development tool', () => {
    const holds = compiledIn('production');
    expect(holds.toSorted()).toEqual([...Object.keys(ours).map((app) => `dist/apps/${app}`), 'dist/libs'].toSorted());
    expect(linesOf('dependencies', 'RUN')).toEqual([['npm', 'ci', '--omit=dev', '--omit=optional']]);
    expect(importsOutside(holds)).toEqual([]);
  });

  it('for the simulator need nothing beside it', () => {
    const holds = compiledIn('simulator');
    expect(holds).toEqual(['dist/apps/simulator']);
    expect(importsOutside(holds, [])).toEqual([]);
  });
});

/** What the compiled files in these folders import that is neither in them nor in a package of `packages`. */
function importsOutside(folders: string[], packages = Object.keys(dependencies())): string[] {
  const files = folders
    .flatMap((folder) => readdirSync(inRoot(folder), { recursive: true }).map((file) => join(folder, String(file))))
    .filter((file) => file.endsWith('.js') && !/\.spec(-stub)?\.js$/.test(file));
  expect(files.length).toBeGreaterThan(folders.length);
  const isInside = (path: string) =>
    folders.some((folder) => path.startsWith(`${folder}/`)) && existsSync(inRoot(path));
  return files.flatMap((file) =>
    [
      ...textOf(file).matchAll(
        /^(?:import |(?:import|export|\}).*? from )['"]([^'"]+)['"]|\bimport\(['"]([^'"]+)['"]\)/gm,
      ),
    ]
      .map((match) => match[1] ?? match[2]!)
      .filter((name) => {
        if (name.startsWith('node:')) return false;
        if (name.startsWith('.')) return !isInside(relative(root, resolve(dirname(inRoot(file)), name)));
        if (name.startsWith('#libs/')) return !isInside(`dist/libs/${name.slice('#libs/'.length)}/src/index.js`);
        return !packages.some((known) => name === known || name.startsWith(`${known}/`));
      })
      .map((name) => `${file} imports ${name}`),
  );
}

function dependencies(): Record<string, string> {
  return (JSON.parse(textOf('package.json')) as { dependencies: Record<string, string> }).dependencies;
}

describe('docker-compose.yml', () => {
  it('is valid by the schema of the compose specification', () => {
    expect(faultsOf(inRoot('docker-compose.yml'))).toEqual([]);
    const folder = mkdtempSync(join(tmpdir(), 'compose-'));
    try {
      const broken = join(folder, 'docker-compose.yml');
      writeFileSync(broken, composeText.replace('replicas: 2', 'replica: 2'));
      expect(faultsOf(broken)).toHaveLength(1);
    } finally {
      rmSync(folder, { recursive: true });
    }
  });

  it('starts only what is in the image, and mounts only what exists', () => {
    for (const [name, { command, build, volumes = [], networks }] of Object.entries(services)) {
      if (build) {
        const started = command ?? (JSON.parse(linesOf(build.target, 'CMD')[0]!.join(' ')) as string[]);
        const script = started.at(-1)!;
        expect(started).toEqual(['node', '--enable-source-maps', `dist/apps/${name}/src/main.js`]);
        expect(existsSync(inRoot(script))).toBe(true);
        expect(compiledIn(build.target).some((folder) => script.startsWith(`${folder}/`))).toBe(true);
      }
      for (const source of volumes.map((volume) => volume.split(':')[0]!)) {
        if (source.startsWith('.')) expect([source, existsSync(inRoot(source))]).toEqual([source, true]);
        else expect(Object.keys(compose.volumes)).toContain(source);
      }
      expect(Object.keys(compose.networks)).toEqual(expect.arrayContaining(networks));
    }
    expect(JSON.parse(linesOf('production', 'CMD')[0]!.join(' '))).toEqual(services.gateway!.command);
  });

  it('gives every service what it needs to start, and nothing that it does not know', () => {
    const imageSets = Object.fromEntries(linesOf('production', 'ENV')[0]!.map((pair) => pair.split('=')));
    expect(imageSets).toMatchObject({ LEASEHOLD_HOST: '0.0.0.0', LEASEHOLD_OPERATIONS_HOST: '0.0.0.0' });
    for (const [name, schema] of Object.entries(ours) as [string, z.ZodObject][]) {
      const environment = environmentOf(name);
      expect(Object.keys(schema.shape)).toEqual(expect.arrayContaining(Object.keys(environment)));
      expect(() => readEnvironment(name, schema, { ...imageSets, ...environment })).not.toThrow();
    }
    const known = Object.values(ours).flatMap((schema) => Object.keys(schema.shape));
    expect([...known, 'NODE_ENV']).toEqual(expect.arrayContaining(Object.keys(imageSets)));
    const simulator = textOf('apps/simulator/src/main.ts');
    for (const name of Object.keys({ ...services.simulator!.environment, SIMULATOR_HOST: '' }))
      expect(simulator).toContain(name);
  });

  it('asks for every key and password by a sentence, and for none that is not made for it', () => {
    const asked = new Set(composeText.match(/(?<=\$\{)\w+(?=:\?)/g));
    expect([...asked].toSorted()).toEqual(Object.keys(dotEnv).toSorted());
    for (const name of asked)
      expect(() => filled(composeText, { ...dotEnv, [name]: '' })).toThrow(`${name} is missing`);
    // None has a value in the file.
    for (const { environment = {} } of Object.values(services)) {
      for (const [name, value] of Object.entries(environment))
        if (/PASSWORD|KEY|TOKEN|URL/.test(name)) expect(value).toMatch(/\$\{\w+/);
    }
  });

  it('lets callers reach the gateway from this machine, and nobody reach anything else', () => {
    const open = Object.entries(services).flatMap(([name, { ports = [] }]) => ports.map((port) => [name, port]));
    expect(open).toEqual([['gateway', '127.0.0.1:8200:8200']]);
    expect(compose.networks.inner).toEqual({ internal: true });
    for (const server of ['postgres', 'rabbitmq', 'redis', 'migrate'])
      expect(services[server]!.networks).toEqual(['inner']);
    expect(services.gateway!.networks).not.toContain('aws');
  });

  it('runs two issuers, waits for the migration, and has the simulator only on request', () => {
    expect(services.issuer!.deploy).toEqual({ replicas: 2 });
    for (const name of lasting)
      expect(services[name]!.depends_on!.migrate).toEqual({ condition: 'service_completed_successfully' });
    const withProfile = Object.entries(services).filter(([, { profiles }]) => profiles);
    expect(withProfile.map(([name, { profiles }]) => [name, profiles])).toEqual([['simulator', ['simulator']]]);
  });

  it('counts a service as unhealthy when it no longer lives, not when it waits for another', () => {
    for (const name of lasting) {
      expect(services[name]!.restart).toBe('unless-stopped');
      expect(services[name]!.healthcheck!.test.join(' ')).toContain(':9102/health/live');
    }
    expect(revokerEnv.shape.LEASEHOLD_OPERATIONS_PORT.parse(undefined)).toBe(9102);
  });
});

function faultsOf(file: string): string[] {
  const linter = new DCLinter({ rules: {}, quiet: true, debug: false, exclude: [] });
  // Its types cannot be resolved as it ships them.
  const results = linter.lintFiles([file], false) as { messages: { rule: string; message: string }[] }[];
  return results
    .flatMap(({ messages }) => messages)
    .filter(({ rule }) => rule === 'invalid-schema' || rule === 'invalid-yaml')
    .map(({ message }) => message);
}

interface Server {
  port: number;
  stop(): Promise<void>;
}
/** Parts of `scripts/servers` that have no types. */
const [{ keep, run }, { answers, freePort }, { findProgram, findServer, searchPath }] = (await Promise.all(
  ['process', 'private', 'find'].map((part) => import(inRoot(`scripts/servers/${part}.mjs`))),
)) as [
  {
    keep(options: object): Promise<{ stop(): Promise<void> }>;
    run(program: string, args: string[], options: object): { hasEnded(): boolean };
  },
  {
    answers(port: number, hello: Buffer | string, is: (bytes: Buffer) => boolean): Promise<boolean>;
    freePort(): Promise<number>;
  },
  {
    findProgram(name: string): string | undefined;
    findServer(name: string): string | undefined;
    searchPath(): string[];
  },
];

// Where the servers run in containers of the tests there is none to start in another way.
const withServers = findServer('redis') && findServer('rabbitmq') ? describe : describe.skip;

withServers('the users of docker-compose.yml', () => {
  const folder = mkdtempSync(join(tmpdir(), 'compose-servers-'));
  const log: string[] = [];
  const servers: Server[] = [];
  let redis: Server;
  let rabbitmq: Server;
  let world: World;

  beforeAll(async () => {
    const starting = [startRedis(folder), startRabbitmq(folder)] as const;
    // Whatever becomes of the other.
    for (const server of starting)
      void server.then(
        (started) => servers.push(started),
        () => undefined,
      );
    [redis, rabbitmq] = await Promise.all(starting);
    world = await World.start({
      // No sweep meanwhile: what happens is due to alarms.
      timing: { sweepEveryMs: 600_000 },
      run: (options) => startFleet(options, { redis: redis.port, rabbitmq: rabbitmq.port }, log),
    });
    await world.mount();
  }, 120_000);

  afterAll(async () => {
    await world?.close();
    await Promise.all(servers.map((server) => server.stop()));
    rmSync(folder, { recursive: true, force: true });
  }, 60_000);

  it('have the rights to issue, renew, revoke, let expire and tell of it', async () => {
    const must = (...[status, method, path, body]: Parameters<World['http']['must']>) =>
      world.http.must(status, method, path, body);
    const document = { Version: '2012-10-17', Statement: { Effect: 'Allow', Action: 'ec2:*', Resource: '*' } };
    await must(204, 'PUT', 'aws/roles/deploy', { policy: JSON.stringify(document) });
    const lent = (await must(200, 'GET', 'aws/creds/deploy')).body;
    expect((await must(200, 'PUT', 'sys/leases/renew', { lease_id: lent.lease_id })).body.lease_id).toBe(lent.lease_id);
    await must(204, 'PUT', 'sys/leases/revoke', { lease_id: lent.lease_id });
    expect(await world.whoIs(lent.data as unknown as LentKeys)).toBe('InvalidClientTokenId');

    await must(204, 'PUT', 'aws/config/lease', { lease: '1s', lease_max: '1h' });
    await must(200, 'GET', 'aws/creds/deploy');
    await eventually(() => world.lentUsers().length === 0);
    const waiting = () => world.database.query<{ events: number }>('select count(*)::int as events from outbox');
    await eventually(async () => (await waiting()).rows[0]!.events === 0);
    expect(log.filter((line) => /NOPERM|ACCESS_REFUSED|can't run this command/.test(line))).toEqual([]);
  }, 30_000);

  it('are well by the health checks of the file', async () => {
    const alive = services.redis!.healthcheck!.test[1]!.replace('redis-cli', `redis-cli -p ${redis.port}`);
    const env = { PATH: searchPath().join(':'), ...environmentOf('redis') };
    expect(spawnSync('sh', ['-c', filled(alive)], { env }).status).toBe(0);
    const wrong = { ...env, REDIS_GATEWAY_PASSWORD: 'wrong' };
    expect(spawnSync('sh', ['-c', filled(alive)], { env: wrong }).status).not.toBe(0);

    const [, , ...check] = services.gateway!.healthcheck!.test;
    const asked = (port: string | number) => check.map((word) => word.replace(':9102', `:${port}`));
    const { port } = new URL(log.map(operationsIn).find((url) => url)!);
    expect(spawnSync(process.execPath, asked(port)).status).toBe(0);
    expect(spawnSync(process.execPath, asked(await freePort())).status).toBe(1);
  });

  it.each(lasting)('do nothing on Redis but the work of the alarms: %s', async (user) => {
    const can = (...command: [string, ...string[]]) => redisSays(user, redis.port, command);
    expect(await can('hget', 'leasehold:alarms:meta', 'x')).toBe('null');
    for (const forbidden of [
      ['flushall'],
      ['flushdb'],
      ['keys', '*'],
      ['config', 'get', '*'],
      ['acl', 'list'],
      ['client', 'kill', '127.0.0.1:1'],
      ['script', 'flush'],
      ['shutdown'],
      ['monitor'],
      ['get', 'another:key'],
      ['eval', "return redis.call('set', 'another:key', '1')", '0'],
      ['eval', "return redis.call('flushall')", '0'],
    ] as [string, ...string[]][])
      expect([forbidden, await can(...forbidden)]).toEqual([forbidden, expect.stringMatching(/NOPERM|can't/)]);
    // Who rings the alarm does not answer it.
    const taken = await can('bzpopmin', 'leasehold:none', '0.01');
    expect(taken).toMatch(user === 'revoker' ? 'null' : 'NOPERM');
  });

  it('are the only users there are', async () => {
    expect(await redisSays('', redis.port, ['ping'])).toMatch('NOAUTH');
    const asGuest = amqp.connect(`amqp://guest:guest@127.0.0.1:${rabbitmq.port}`);
    await expect(asGuest).rejects.toThrow('ACCESS_REFUSED');
  });

  it.each([
    ['gateway', ['command']],
    ['issuer', ['command', 'declare', 'declare the second', 'take', 'purge']],
    ['revoker', ['event', 'declare events']],
  ])('do nothing on RabbitMQ but the part of their service: %s', async (user, allowed) => {
    const url = at(environmentOf(user).RABBITMQ_URL!, rabbitmq.port);
    const commands = 'leasehold.commands';
    const tries: Record<string, (channel: ConfirmChannel) => Promise<unknown>> = {
      take: (channel) => channel.get(commands),
      purge: (channel) => channel.purgeQueue(commands),
      declare: (channel) => channel.assertQueue(commands, { durable: true }),
      'declare the second': (channel) => channel.assertQueue(`${commands}.held`, { durable: true }),
      'declare another': (channel) => channel.assertQueue('leasehold.commands.copy'),
      'declare one for itself': (channel) => channel.assertQueue('', { exclusive: true }),
      listen: (channel) => channel.bindQueue(commands, 'leasehold.events', '#'),
      'declare events': (channel) => channel.assertExchange('leasehold.events', 'topic', { durable: true }),
      command: (channel) => published(channel, '', 'leasehold.nobody'),
      event: (channel) => published(channel, 'leasehold.events', 'test.nothing'),
    };
    const connection = await amqp.connect(url);
    connection.on('error', () => undefined);
    try {
      const succeeded: string[] = [];
      for (const [name, attempt] of Object.entries(tries)) {
        const channel = await connection.createConfirmChannel();
        const refused = new Promise<Error>((refuse) => channel.once('error', refuse));
        const outcome = await Promise.race([attempt(channel).then(() => null), refused]).catch((error: Error) => error);
        if (outcome) expect(outcome.message).toMatch('ACCESS_REFUSED');
        else succeeded.push(name);
      }
      expect(succeeded.toSorted()).toEqual(allowed.toSorted());
    } finally {
      await connection.close();
    }
  });
});

async function published(channel: ConfirmChannel, exchange: string, key: string): Promise<void> {
  channel.publish(exchange, key, Buffer.from('{}'));
  await channel.waitForConfirms();
}

/** The URL of docker-compose.yml, of a server that listens here. */
function at(url: string, port: number): string {
  return url.replace(/@.*/, `@127.0.0.1:${port}`);
}

/** What Redis answers to a user of docker-compose.yml, or to nobody; an error's text is an answer too. */
async function redisSays(user: string, port: number, [name, ...args]: [string, ...string[]]): Promise<string> {
  const url = user ? at(environmentOf(user).REDIS_URL!, port) : `redis://127.0.0.1:${port}`;
  const redis = new Redis(url, { lazyConnect: true, enableReadyCheck: false, retryStrategy: () => null });
  redis.on('error', () => undefined);
  try {
    await redis.connect();
    return JSON.stringify(await redis.call(name, ...args));
  } catch (error) {
    return (error as Error).message;
  } finally {
    redis.disconnect();
  }
}

/** The services with the environments of docker-compose.yml, but servers, database and AWS are those of the test. */
async function startFleet(
  system: SystemOptions,
  ports: { redis: number; rabbitmq: number },
  log: string[],
): Promise<RunningSystem> {
  const fleet = new Fleet({ LEASEHOLD_DRAIN_MS: '0', LEASEHOLD_TIMING: JSON.stringify(system.timing) }, (line) =>
    log.push(line),
  );
  const environment = (kind: (typeof lasting)[number] | 'migrate') => {
    const { REDIS_URL, RABBITMQ_URL, ...others } = environmentOf(kind);
    return {
      ...others,
      ...(REDIS_URL ? { REDIS_URL: at(REDIS_URL, ports.redis) } : {}),
      ...(RABBITMQ_URL ? { RABBITMQ_URL: at(RABBITMQ_URL, ports.rabbitmq) } : {}),
      DATABASE_URL: system.databaseUrl,
      LEASEHOLD_AWS_ENDPOINT: system.surroundings.defaultEndpoint!,
    };
  };
  try {
    await fleet.migrate({ ...environment('migrate'), LEASEHOLD_ROOT_TOKEN: system.rootToken });
    const kinds = ['gateway', 'issuer', 'issuer', 'revoker'] as const satisfies Kind[];
    const started = kinds.map((kind) => fleet.start(kind, environment(kind)));
    await Promise.all(started.map((service) => service.serves()));
    await eventually(
      async () => (await Promise.all(started.map((service) => service.isReady()))).every(Boolean),
      30_000,
    );
    return { url: started[0]!.url, close: () => fleet.close() };
  } catch (error) {
    await fleet.close();
    throw error;
  }
}

/** Where the service that logged the line answers about its health. */
function operationsIn(line: string): string | undefined {
  const port = /"operations":(\d+)/.exec(line)?.[1];
  return port && `http://127.0.0.1:${port}`;
}

/** The command of docker-compose.yml for a server, as it runs here: the mounted script, and this machine's program. */
function commandOf(service: 'redis' | 'rabbitmq'): string[] {
  const [shell, script, program] = services[service]!.command!;
  const mount = services[service]!.volumes!.find((volume) => volume.includes(`:${script}:`))!;
  expect(program).toBe(`${service}-server`);
  return [shell!, inRoot(mount.split(':')[0]!), findServer(service)!];
}

async function startRedis(folder: string): Promise<Server> {
  const port = await freePort();
  const log = join(folder, 'redis.log');
  const options = ['--port', String(port), '--bind', '127.0.0.1', '--dir', folder];
  const env = { PATH: searchPath().join(':'), TMPDIR: folder, ...environmentOf('redis') };
  const [shell, ...args] = commandOf('redis');
  const server = await keep({
    name: 'Redis',
    log,
    launch: () => Promise.resolve([run(shell!, [...args, ...options], { cwd: folder, env, log })]),
    isReady: () => answers(port, 'PING\r\n', (bytes) => bytes.includes('NOAUTH')),
  });
  return { port, stop: () => server.stop() };
}

async function startRabbitmq(folder: string): Promise<Server> {
  const [port, distPort, epmdPort] = [await freePort(), await freePort(), await freePort()];
  const log = join(folder, 'rabbitmq.log');
  const env = {
    PATH: searchPath().join(':'),
    HOME: folder,
    TMPDIR: folder,
    LC_ALL: 'C.UTF-8',
    RUNNING_UNDER_SYSTEMD: 'true',
    ERL_FLAGS: '-start_epmd false',
    ERL_EPMD_ADDRESS: '127.0.0.1',
    ERL_EPMD_PORT: String(epmdPort),
    RABBITMQ_NODENAME: 'compose@localhost',
    RABBITMQ_NODE_IP_ADDRESS: '127.0.0.1',
    RABBITMQ_NODE_PORT: String(port),
    RABBITMQ_DIST_PORT: String(distPort),
    RABBITMQ_CONF_ENV_FILE: join(folder, 'none'),
    RABBITMQ_CONFIG_FILES: join(folder, 'none'),
    RABBITMQ_ADVANCED_CONFIG_FILE: join(folder, 'none'),
    RABBITMQ_ENABLED_PLUGINS_FILE: join(folder, 'none'),
    RABBITMQ_MNESIA_BASE: join(folder, 'rabbitmq'),
    RABBITMQ_PID_FILE: join(folder, 'rabbitmq.pid'),
    RABBITMQ_LOG_BASE: folder,
    RABBITMQ_LOGS: '-',
    ...environmentOf('rabbitmq'),
  };
  const [shell, ...args] = commandOf('rabbitmq');
  const server = await keep({
    name: 'RabbitMQ',
    log,
    launch: async () => {
      const epmd = run(findProgram('epmd')!, ['-port', String(epmdPort)], { cwd: folder, env });
      const isUp = () => answers(epmdPort, Buffer.from('\0\u0001n'), (names) => names.length >= 4);
      await eventually(isUp);
      return [run(shell!, args, { cwd: folder, env, log }), epmd];
    },
    isReady: () => answers(port, Buffer.from('AMQP\0\0\u0009\u0001', 'latin1'), (bytes) => bytes[0] === 1),
  });
  return { port, stop: () => server.stop() };
}
