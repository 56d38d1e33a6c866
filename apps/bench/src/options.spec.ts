import { expect, it } from '@jest/globals';
import { operationNames } from './operations.js';
import { readOptions } from './options.js';

const read = (line: string, env = {}) => readOptions(line.split(' ').filter(Boolean), env);

it('measures everything on one process of our own unless told otherwise', () => {
  expect(read('')).toEqual({
    shape: 'embedded',
    quick: false,
    issuers: 1,
    audit: false,
    only: operationNames,
    pids: {},
  });
});

it('takes a system that runs already, its processes and a selection', () => {
  expect(
    read('--quick --target http://127.0.0.1:8200/ --pids bao=12,db=13 --only renew,sts', { VAULT_TOKEN: 't' }),
  ).toEqual({
    shape: 'target',
    quick: true,
    issuers: 1,
    audit: false,
    only: ['renew', 'assumed-role', 'federation-token'],
    target: { url: 'http://127.0.0.1:8200', token: 't' },
    pids: { bao: 12, db: 13 },
  });
});

it.each([
  ['--target http://vault.example:8200 --token t', 'is not this machine'],
  ['--target http://127.0.0.1.example.com --token t', 'is not this machine'],
  ['--target https://127.0.0.1 --token t', 'must be an http:// URL'],
  ['--target http://localhost:8200', 'needs --token'],
  ['--shape both --issuers 0 --only x', /--shape both.*--issuers 0.*no "x"/],
  ['--pids a', '--pids is for --target'],
  ['--fast', 'Unknown option'],
])('refuses %s with a sentence', (line, sentence) => {
  expect(() => read(line)).toThrow(sentence);
});
