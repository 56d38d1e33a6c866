import { isAbsolute } from 'node:path';
import { InvalidRequest } from '#libs/contracts';

/** How a device of type `file` writes. */
export interface DeviceOptions {
  /** An absolute path, or `stdout`. */
  filePath: string;
  /** Permissions of the file where it is made. */
  mode: number;
  /** Stands before every record. */
  prefix: string;
  /** Whether accessors are hashed as tokens are. */
  hmacAccessor: boolean;
}

/** The device of the environment is written by the same defaults. */
export const usualOptions = { mode: 0o600, prefix: '', hmacAccessor: true };

const known = ['file_path', 'path', 'mode', 'prefix', 'hmac_accessor', 'log_raw', 'format', 'elide_list_responses'];
const words: Record<string, boolean> = {
  true: true,
  '1': true,
  t: true,
  false: false,
  '0': false,
  f: false,
  '': false,
};

/**
 * Reads the options of `sys/audit/<path>` (contract 3.6). Refused is what would weaken the record or the machine: values in the
 * clear, a file that can be executed, a prefix that is a command.
 * @throws InvalidRequest
 */
export function parseDeviceOptions(given: Record<string, string>): DeviceOptions {
  const unknown = Object.keys(given).find((name) => !known.includes(name));
  if (unknown !== undefined) throw new InvalidRequest(`unknown option "${unknown}": there are ${known.join(', ')}`);
  const filePath = given.file_path ?? given.path ?? '';
  if (filePath === '') throw new InvalidRequest('file_path is required');
  if (filePath !== 'stdout' && (!isAbsolute(filePath) || filePath.includes('\0'))) {
    throw new InvalidRequest('file_path must be an absolute path, or "stdout"');
  }
  if ((given.format ?? 'json') !== 'json') throw new InvalidRequest('format must be json: there is no other');
  if (flag('log_raw', given.log_raw, false)) {
    throw new InvalidRequest('log_raw is not supported: no secret is ever written in the clear');
  }
  if (flag('elide_list_responses', given.elide_list_responses, false)) {
    throw new InvalidRequest('elide_list_responses is not supported: long lists are cut as they are');
  }
  const prefix = given.prefix ?? '';
  // Nothing that a shell or a table of jobs would take for a command.
  if (!/^(@?[\w.-]{1,40}: ?)?$/.test(prefix)) {
    throw new InvalidRequest('prefix must be one word and a colon, such as "@cee: "');
  }
  return {
    filePath,
    mode: modeOf(given.mode ?? ''),
    prefix,
    hmacAccessor: flag('hmac_accessor', given.hmac_accessor, usualOptions.hmacAccessor),
  };
}

function modeOf(text: string): number {
  // The peers' word for the permissions that are there already.
  if (/^0*$/.test(text)) return usualOptions.mode;
  const mode = /^0?[0-7]{1,4}$/.test(text) ? Number.parseInt(text, 8) : NaN;
  if (!(mode <= 0o666)) throw new InvalidRequest(`mode ${text} is not an octal number such as 0600`);
  if (mode & 0o111) throw new InvalidRequest('mode must not make the file executable');
  return mode;
}

function flag(name: string, text: string | undefined, usual: boolean): boolean {
  if (text === undefined) return usual;
  const value = words[text.toLowerCase()];
  if (value === undefined) throw new InvalidRequest(`${name} must be true or false`);
  return value;
}
