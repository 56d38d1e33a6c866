import { expect, it } from '@jest/globals';
import { Metrics } from './metrics.js';

it('gives those who ask for the same figure the same one', async () => {
  const metrics = new Metrics('test');
  for (const by of [1, 2]) metrics.counter('leasehold_things_total', 'Things.', ['kind']).inc({ kind: 'a' }, by);
  expect(await metrics.text()).toContain('leasehold_things_total{kind="a",service="test"} 3\n');
});

it('leaves out what cannot be looked up, and shows it again once it can', async () => {
  const metrics = new Metrics('test');
  let away = false;
  const look = () => (away ? Promise.reject(new Error('away')) : Promise.resolve(7));
  metrics.gauge('one', 'One.', look);
  metrics.gauges('some', 'Some.', 'of', async () => ({ x: await look() }));
  for (const isAway of [false, true, false]) {
    away = isAway;
    const text = await metrics.text();
    expect(text.includes('one{service="test"} 7')).toBe(!isAway);
    expect(text.includes('some{of="x",service="test"} 7')).toBe(!isAway);
    expect(text).not.toMatch(/^(one|some)\S* 0$/m);
  }
});

it('does not wait for a look that never ends', async () => {
  const metrics = new Metrics('test');
  metrics.gauge('never', 'Never.', () => new Promise(() => undefined));
  metrics.gauge('there', 'There.', () => 1);
  const text = await metrics.text();
  expect(text).toContain('there{service="test"} 1');
  expect(text).not.toMatch(/^never\S* \d/m);
});

it('measures a span whether it succeeds or not, and tells it in JSON under the name it was given', async () => {
  const metrics = new Metrics('test');
  const span = metrics.span('vault.expire.revoke-force', 'Revoking by force.');
  expect(await span(() => Promise.resolve('done'))).toBe('done');
  await expect(span(() => Promise.reject(new Error('refused')))).rejects.toThrow('refused');
  expect(await metrics.text()).toContain('vault_expire_revoke_force_count{service="test"} 2\n');
  const told = await metrics.json(new Date('2026-01-02T03:04:05.678Z'));
  expect(told).toMatchObject({
    Timestamp: '2026-01-02 03:04:05 +0000 UTC',
    Samples: [{ Name: 'vault.expire.revoke-force', Count: 2, Labels: { service: 'test' } }],
  });
});

it('writes what is no number as Prometheus does', async () => {
  const metrics = new Metrics('test');
  metrics.gauge('unknown', 'Not known.', () => Number.NaN);
  expect(await metrics.text()).toContain('unknown{service="test"} NaN\n');
});
