import { afterEach, beforeAll, describe, expect, it } from '@jest/globals';
import { once } from 'node:events';
import { request, type Server } from 'node:http';
import { get } from 'node:https';
import { connect as connectPlain, type AddressInfo } from 'node:net';
import { connect, type TLSSocket } from 'node:tls';
import { Authority, type Certified } from '../../../../test/support/certificates.js';
import { renewTls, type ServerTls } from './http-server.js';
import { serve, stopServing } from './wire.spec-stub.js';

describe('a server with certificates', () => {
  let ours: Authority;
  let theirs: Authority;
  let own: Certified;

  beforeAll(async () => {
    [ours, theirs] = await Promise.all([Authority.named('ours'), Authority.named('theirs')]);
    own = await ours.certify('vault');
  });
  afterEach(stopServing);

  const portOf = (server: Server) => (server.address() as AddressInfo).port;
  const serveWith = (tls: Partial<ServerTls> = {}) => serve(undefined, { tls: { ...own, ...tls } });

  /** The answer's status, or the code of what went wrong. */
  function ask(server: Server, client: Partial<Certified> & { ca?: string } = {}): Promise<number | string> {
    const options = { host: '127.0.0.1', port: portOf(server), ca: ours.cert, agent: false, ...client };
    return new Promise((resolve) => {
      get({ ...options, path: '/v1/x' }, (answer) => {
        answer.resume();
        answer.once('end', () => resolve(answer.statusCode!));
      }).on('error', (error: NodeJS.ErrnoException) => resolve(error.code ?? error.message));
    });
  }

  it('is believed by who knows its authority, and by nobody else', async () => {
    const server = await serveWith();
    expect(await ask(server)).toBe(200);
    expect(await ask(server, { ca: theirs.cert })).toBe('UNABLE_TO_VERIFY_LEAF_SIGNATURE');
  });

  it('serves only who shows a certificate of its authority, where one is required', async () => {
    const server = await serveWith({ clientCa: ours.cert, clientCert: 'required' });
    expect(await ask(server, await ours.certify('caller'))).toBe(200);
    expect(await ask(server)).toMatch(/ALERT|ECONNRESET/);
    expect(await ask(server, await theirs.certify('caller'))).toMatch(/ALERT|ECONNRESET/);
  });

  it('serves who shows none where it is asked for, but not who shows another', async () => {
    const server = await serveWith({ clientCa: ours.cert, clientCert: 'asked' });
    expect(await ask(server, await ours.certify('caller'))).toBe(200);
    expect(await ask(server)).toBe(200);
    expect(await ask(server, await theirs.certify('caller'))).toMatch(/ALERT|ECONNRESET|socket hang up/);
  });

  it('shows a renewed certificate to new connections, and goes on over those that are open', async () => {
    const server = await serveWith();
    const open = connect({ host: '127.0.0.1', port: portOf(server), ca: ours.cert });
    await once(open, 'secureConnect');
    renewTls(server, await ours.certify('renewed'));
    const later = connect({ host: '127.0.0.1', port: portOf(server), ca: ours.cert });
    await once(later, 'secureConnect');
    const nameIn = (socket: TLSSocket) => socket.getPeerCertificate().subject.CN;
    expect([nameIn(open), nameIn(later)]).toEqual(['vault', 'renewed']);
    open.write('LIST /v1/x HTTP/1.1\r\nHost: vault\r\n\r\n');
    expect(String((await once(open, 'data'))[0])).toContain('200 OK');
    await expect(async () => renewTls(server, { ...own, key: (await theirs.certify('x')).key })).rejects.toThrow();
    expect(await ask(server)).toBe(200);
    open.destroy();
    later.destroy();
  });

  it('says nothing in the clear, and lives on', async () => {
    const server = await serveWith();
    const plain = request({ host: '127.0.0.1', port: portOf(server), path: '/v1/x', agent: false });
    plain.end();
    const [error] = (await once(plain, 'error')) as [NodeJS.ErrnoException];
    expect(error.code).toMatch(/ECONNRESET|HPE/);
    expect(await ask(server)).toBe(200);
  });

  it('is closed at once though a caller has not begun its session', async () => {
    const server = await serveWith();
    const silent = connectPlain(portOf(server), '127.0.0.1');
    await once(server, 'connection');
    silent.on('error', () => undefined);
    await new Promise((resolve) => server.close(resolve));
    silent.destroy();
  });
});
