import { describe, expect, it } from '@jest/globals';
import { formatTime } from './go-time.js';

describe('formatTime', () => {
  const afternoon = new Date('2026-02-03T16:05:06.070Z');
  const midnight = new Date('2026-12-30T00:00:00.000Z');

  it.each([
    ['2006-01-02T15:04:05Z07:00', '2026-02-03T16:05:06Z', '2026-12-30T00:00:00Z'],
    ['20060102150405', '20260203160506', '20261230000000'],
    ['06 1 2 3 4 5', '26 2 3 4 5 6', '26 12 30 12 0 0'],
    ['Monday Mon January Jan', 'Tuesday Tue February Feb', 'Wednesday Wed December Dec'],
    ['Month Janet', 'Month Janet', 'Month Janet'],
    ['_2 __2 002', ' 3  34 034', '30 364 364'],
    ['_2006', '_2026', '_2026'],
    ['03PM 03pm', '04PM 04pm', '12AM 12am'],
    ['05.000 05,00 05.999 05.0000', '06.070 06,07 06.07 06.0700', '00.000 00,00 00 00.0000'],
    ['MST -0700 -07:00 -07 Z0700 Z07', 'UTC +0000 +00:00 +00 Z Z', 'UTC +0000 +00:00 +00 Z Z'],
  ])('prints the layout %j as Go does', (layout, inTheAfternoon, atMidnight) => {
    expect(formatTime(afternoon, layout)).toBe(inTheAfternoon);
    expect(formatTime(midnight, layout)).toBe(atMidnight);
  });
});
