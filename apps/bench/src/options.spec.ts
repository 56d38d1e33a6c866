import { expect, it } from '@jest/globals';
import { operationNames } from './operations.js';
import { readOptions } from './options.js';

const read = (line: string, env = {}) => readOptions(line.split(' ').filter(Boolean), env);

it('measures the whole table in both shapes unless told otherwise', () => {
  expect(read('')).toEqual({
    measurement: 'table',
    shapes: ['embedded', 'services'],
    quick: false,
    issuers: 1,
    audit: false,
    only: operationNames,
  });
});

it('takes a system that runs already, its processes and a selection', () => {
  const line = '--quick --target http://127.0.0.1:8200/ --pids bao=12,db=13 --only renew,sts';
  expect(read(line, { VAULT_TOKEN: 't' })).toEqual({
    measurement: 'table',
    shapes: [],
    quick: true,
    issuers: 1,
    audit: false,
    only: ['renew', 'assumed-role', 'federation-token'],
    target: { url: 'http://127.0.0.1:8200', token: 't', pids: { bao: 12, db: 13 } },
  });
});

it.each([
  ['--quick', ['embedded']],
  ['--shape services', ['services']],
  ['--shape both --target http://localhost:8200 --token t', ['embedded', 'services']],
  ['scale', ['services']],
  ['lateness --shape both', ['embedded', 'services']],
])('measures with "%s" %j of ours', (line, shapes) => {
  expect(read(line)).toMatchObject({ shapes });
});

it.each([
  ['--target http://vault.example:8200 --token t', 'is not this machine'],
  ['--target http://127.0.0.1.example.com --token t', 'is not this machine'],
  ['--target https://127.0.0.1 --token t', 'must be an http:// URL'],
  ['--target http://localhost:8200', 'needs --token'],
  ['--shape some --issuers 0 --only x', /--issuers 0.*no "x".*--shape some/],
  ['--shape toString', '--shape toString'],
  ['--pids a', '--pids is for --target'],
  ['--fast', 'Unknown option'],
  ['speed', 'no measurement "speed" (there are table, scale'],
  ['scale mass', 'one measurement at a time'],
  ['mass --shape embedded', 'mass is of services alone'],
  ['lateness --quick --only creds', /--quick is for table alone.*--only is for table alone/],
  ['--save ../up', '--save ../up is no name'],
])('refuses %s with a sentence', (line, sentence) => {
  expect(() => read(line)).toThrow(sentence);
});
