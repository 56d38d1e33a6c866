import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, it } from '@jest/globals';
import { readSettings } from './settings.js';

describe('the settings of npm start', () => {
  it('are what the README says where nothing is given, or nothing but empty variables', () => {
    const defaults = { port: 8200, rootToken: undefined, masterKey: undefined, database: undefined };
    expect(readSettings([], { PATH: '/bin' })).toMatchObject({ ...defaults, tour: true, aws: false });
    expect(readSettings([], { PORT: '', DATABASE_URL: '', LEASEHOLD_ROOT_TOKEN: '' })).toMatchObject(defaults);
    expect(readSettings(['--aws'], {})).toMatchObject({ tour: false, aws: true });
    expect(readSettings(['--no-tour'], { PORT: '0' })).toMatchObject({ tour: false, aws: false, port: 0 });
  });

  it('may be in files', () => {
    const folder = mkdtempSync(join(tmpdir(), 'leasehold-settings-'));
    const file = join(folder, 'token');
    writeFileSync(file, 'my-root\n');
    expect(readSettings([], { LEASEHOLD_ROOT_TOKEN_FILE: file }).rootToken).toBe('my-root');
    rmSync(folder, { recursive: true });
  });

  it.each([
    [{ PORT: 'eighty' }, 'The system does not start: PORT must be a number from 0 to 65535.'],
    [{ PORT: '65536' }, 'The system does not start: PORT must be a number from 0 to 65535.'],
    [{ PORT: '80.5' }, 'The system does not start: PORT must be a number from 0 to 65535.'],
    [{ PORT: ' ' }, 'The system does not start: PORT must be a number from 0 to 65535.'],
    [{ DATABASE_URL: 'mysql://x:y@z/a' }, 'The system does not start: DATABASE_URL must be a postgres:// URL.'],
    [{ DATABASE_URL_FILE: '/no/such' }, 'The system does not start: DATABASE_URL_FILE cannot be read.'],
    [
      { PORT: '-1', DATABASE_URL: 'here' },
      'The system does not start: PORT must be a number from 0 to 65535; DATABASE_URL must be a postgres:// URL.',
    ],
  ])('are refused in a sentence: %j', (env, sentence) => {
    expect(() => readSettings([], env)).toThrow(new Error(sentence));
  });

  it('are refused all at once', () => {
    expect(() => readSettings(['--fast', '--aws', 'x'], { PORT: 'eighty' })).toThrow(
      new Error(
        'Not started: --fast is no option (there are --no-tour and --aws).\n' +
          'Not started: x is no option (there are --no-tour and --aws).\n' +
          'The system does not start: PORT must be a number from 0 to 65535.',
      ),
    );
  });
});
