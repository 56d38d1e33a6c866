import { expect, it } from '@jest/globals';
import { routeLabel } from './route-label.js';

it.each([
  ['config/root', 'config/root', 'config/root'],
  [String.raw`(creds|sts)/(?P<name>\w(([\w-.@]+)?\w)?)`, 'creds/sts', 'creds'],
  [String.raw`(creds|sts)/(?P<name>\w(([\w-.@]+)?\w)?)`, 'sts/creds', 'sts'],
  [String.raw`(?P<door>creds|sts)/(?P<name>\w(([\w-.@]+)?\w)?)`, 'sts/secretRole', 'sts'],
  [String.raw`roles/(?P<name>\w(([\w-.@]+)?\w)?)`, 'roles/secretRole', 'roles'],
  ['sys/mounts/(?P<path>.+?)/tune', 'sys/mounts/their/aws/tune', 'sys/mounts/tune'],
  ['sys/mounts/(?P<path>.+)', 'sys/mounts/their/aws', 'sys/mounts'],
  ['sys/leases/lookup(/(?P<prefix>.*))?', 'sys/leases/lookup/aws/creds', 'sys/leases/lookup'],
  ['sys/(leases/)?renew(/(?P<url_lease_id>.+))?', 'sys/renew/aws/creds/x/y', 'sys/renew'],
  ['sys/(leases/)?revoke-prefix/(?P<prefix>.+)', 'sys/leases/revoke-prefix/aws', 'sys/revoke-prefix'],
])('of %s, asked as %s, names %s', (pattern, asked, label) => {
  expect(routeLabel(pattern, asked)).toBe(label);
});
