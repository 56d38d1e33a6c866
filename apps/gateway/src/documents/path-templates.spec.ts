import { describe, expect, it } from '@jest/globals';
import { templatesOf } from './path-templates.js';

describe('the templates of a pattern', () => {
  it.each([
    ['sys/mounts', ['sys/mounts']],
    [String.raw`(creds|sts)/(?P<name>\w(([\w-.@]+)?\w)?)`, ['creds/{name}', 'sts/{name}']],
    ['sys/(leases/)?renew(/(?P<id>.+))?', ['sys/renew', 'sys/leases/renew', 'sys/renew/{id}', 'sys/leases/renew/{id}']],
  ])('%s', (pattern, templates) => {
    expect(templatesOf(pattern)).toEqual(templates);
  });

  it('do not exist of what no template can say', () => {
    expect(() => templatesOf('sys/.+')).toThrow('cannot have ".+" outside a named group');
  });
});
