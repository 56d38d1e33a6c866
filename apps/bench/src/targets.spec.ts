import { expect, it } from '@jest/globals';
import { peerFigures } from './peer.js';
import { judge, targetSection } from './targets.js';

const verdicts = (figures: object, peer: object = peerFigures) =>
  Object.fromEntries(
    judge(figures, peer)
      .filter(({ measured }) => measured !== undefined)
      .map(({ figure, verdict }) => [figure, verdict]),
  );

it('asks at most a bound of latency and at least the peer of throughput', () => {
  const good = { credsMs50: 110, credsMs0: 10.9, renewPerSecond: 1_330, cpuPerCredentialMs: 2.4, lateP99Seconds: 2 };
  expect(new Set(Object.values(verdicts(good)))).toEqual(new Set(['met']));
  const bad = { credsMs50: 111, credsMs0: 11, renewPerSecond: 1_329, cpuPerCredentialMs: 2.6, lateP99Seconds: 2.1 };
  expect(new Set(Object.values(verdicts(bad)))).toEqual(new Set(['missed']));
});

it('tells where one and a half times the peer is reached', () => {
  expect(verdicts({ credsPerSecond: 600, revokePerSecond: 755, assumedPerSecond: 800 })).toEqual({
    credsPerSecond: 'met',
    revokePerSecond: 'aim met',
    assumedPerSecond: 'missed',
  });
});

it('takes a peer that was measured in the same run in the place of the table', () => {
  expect(verdicts({ credsPerSecond: 600 }, { credsPerSecond: 700 })).toEqual({ credsPerSecond: 'missed' });
  expect(verdicts({ credsPerSecond: 600 }, {})).toEqual({ credsPerSecond: 'not known' });
});

it('holds every figure of the peer against something, and shows those that were measured', () => {
  const judged = judge({ credsMs0: 5 }, peerFigures);
  expect(Object.keys(peerFigures).filter((name) => !judged.some(({ figure }) => figure === name))).toEqual([]);
  expect(targetSection('one process', judged, '').rows).toEqual([
    ['creds, 1 caller, AWS at 0 ms', '5.00 ms', '10.9 ms', '0.46×', '≤ 10.9', 'met'],
  ]);
});
