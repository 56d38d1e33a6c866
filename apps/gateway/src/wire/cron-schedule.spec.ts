import { describe, expect, it } from '@jest/globals';
import { faultOfSchedule } from './cron-schedule.js';

describe('the schedules of Vault', () => {
  it.each([
    '0 * * * *',
    '*/15 0-6,22,23 ? * *',
    '0 0 1 JAN-mar/2 Sun',
    '5/10 4 1,15 12 1-5',
    '  30   4 * * 0  ',
    '@daily',
    '@every 1h30m',
    'TZ=Europe/Berlin 0 3 * * *',
    'CRON_TZ=UTC @weekly',
  ])('take %s', (text) => expect(faultOfSchedule(text)).toBeUndefined());

  it.each([
    ['', 'expected exactly 5 fields, found 0'],
    ['0 * * *', 'expected exactly 5 fields, found 4'],
    ['0 0 * * * *', 'expected exactly 5 fields, found 6'],
    ['60 * * * *', 'the minute field must hold values from 0 to 59'],
    ['* 24 * * *', 'the hour field must hold values from 0 to 23'],
    ['* * 0 * *', 'the day of month field must hold values from 1 to 31'],
    ['* * * 13 *', 'the month field must hold values from 1 to 12'],
    ['* * * * 7', 'the day of week field must hold values from 0 to 6'],
    ['*/0 * * * *', 'the minute field must hold values from 0 to 59'],
    ['5-1 * * * *', 'the minute field must hold values from 0 to 59'],
    ['1-2-3 * * * *', 'the minute field must hold values from 0 to 59'],
    ['1,,2 * * * *', 'the minute field must hold values from 0 to 59'],
    ['x * * * *', 'the minute field must hold values from 0 to 59'],
    ['@sometimes', 'the descriptor is not known'],
    ['@every day', 'no duration after @every'],
    ['TZ=Nowhere/Here 0 * * * *', 'the time zone is not known'],
  ])('refuse %s: %s', (text, fault) => expect(faultOfSchedule(text)).toBe(fault));
});
