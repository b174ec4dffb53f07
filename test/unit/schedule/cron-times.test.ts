import { describe, expect, it } from 'vitest';

import { checkCronPattern } from '../../../src/base/cron-pattern.ts';
import { cronTimes } from '../../../src/schedule/cron-times.ts';

const between = (pattern: string, zone: string, from: string, to: string): string[] =>
  [...cronTimes(pattern, zone)(Date.parse(from), Date.parse(to))].map((at) =>
    new Date(at).toISOString().slice(0, 16),
  );

describe('cronTimes', () => {
  it('yields times after the start and up to the end', () => {
    expect(between('*/20 * * * *', 'UTC', '2026-01-01T00:00Z', '2026-01-01T01:00Z')).toEqual([
      '2026-01-01T00:20',
      '2026-01-01T00:40',
      '2026-01-01T01:00',
    ]);
  });

  it('uses local time: 07:30 in Lisbon is 07:30 UTC in winter and 06:30 UTC in summer', () => {
    expect(between('30 7 * * *', 'Europe/Lisbon', '2026-01-10T00:00Z', '2026-01-11T00:00Z')).toEqual([
      '2026-01-10T07:30',
    ]);
    expect(between('30 7 * * *', 'Europe/Lisbon', '2026-07-10T00:00Z', '2026-07-11T00:00Z')).toEqual([
      '2026-07-10T06:30',
    ]);
  });

  it('requires both day of month and weekday to match', () => {
    expect(between('0 12 13 * 5', 'UTC', '2026-01-01T00:00Z', '2026-12-31T00:00Z')).toEqual([
      '2026-02-13T12:00',
      '2026-03-13T12:00',
      '2026-11-13T12:00',
    ]);
  });

  it('supports zones with an offset in quarter hours', () => {
    expect(between('0 6 * * *', 'Asia/Kathmandu', '2026-01-10T00:00Z', '2026-01-11T00:00Z')).toEqual([
      '2026-01-10T00:15',
    ]);
  });

  describe('Lisbon, spring: 01:00 becomes 02:00 on 2026-03-29 at 01:00 UTC', () => {
    const from = '2026-03-29T00:00Z';
    const to = '2026-03-29T03:00Z';
    it('fires a time of the missing hour once, at the end of the gap', () => {
      expect(between('30 1 * * *', 'Europe/Lisbon', from, to)).toEqual(['2026-03-29T01:00']);
      expect(between('*/10 1 * * *', 'Europe/Lisbon', from, to)).toEqual(['2026-03-29T01:00']);
    });
    it('fires once when another time of the pattern is at the end of the gap', () => {
      expect(between('0 1,2 * * *', 'Europe/Lisbon', from, to)).toEqual(['2026-03-29T01:00']);
    });
    it('continues an every-hour pattern by elapsed time', () => {
      expect(between('*/30 * * * *', 'Europe/Lisbon', from, to)).toEqual([
        '2026-03-29T00:30',
        '2026-03-29T01:00',
        '2026-03-29T01:30',
        '2026-03-29T02:00',
        '2026-03-29T02:30',
        '2026-03-29T03:00',
      ]);
    });
  });

  describe('Lisbon, autumn: 02:00 becomes 01:00 on 2026-10-25 at 01:00 UTC', () => {
    const from = '2026-10-24T23:30Z';
    const to = '2026-10-25T03:00Z';
    it('fires a repeated time once, the first time', () => {
      expect(between('30 1 * * *', 'Europe/Lisbon', from, to)).toEqual(['2026-10-25T00:30']);
      expect(between('0 1,2 * * *', 'Europe/Lisbon', from, to)).toEqual([
        '2026-10-25T00:00',
        '2026-10-25T02:00',
      ]);
    });
    it('leaves no gap in an every-hour pattern', () => {
      expect(between('0 * * * *', 'Europe/Lisbon', from, to)).toEqual([
        '2026-10-25T00:00',
        '2026-10-25T01:00',
        '2026-10-25T02:00',
        '2026-10-25T03:00',
      ]);
    });
  });

  describe('Lord Howe: daylight saving of half an hour', () => {
    it('fires once in autumn, when 02:00 becomes 01:30 on 2026-04-05 at 15:00 UTC of the day before', () => {
      const times = between('15,45 1 * * *', 'Australia/Lord_Howe', '2026-04-04T13:00Z', '2026-04-04T17:00Z');
      expect(times).toEqual(['2026-04-04T14:15', '2026-04-04T14:45']);
    });
    it('fires at the end of the gap in spring, when 02:00 becomes 02:30 on 2026-10-04 at 15:30 UTC of the day before', () => {
      const from = '2026-10-03T14:00Z';
      const to = '2026-10-03T17:00Z';
      expect(between('15 2 * * *', 'Australia/Lord_Howe', from, to)).toEqual(['2026-10-03T15:30']);
      expect(between('45 2 * * *', 'Australia/Lord_Howe', from, to)).toEqual(['2026-10-03T15:45']);
    });
  });

  it('finds a rare time within five seconds', () => {
    const started = performance.now();
    expect(between('0 0 29 2 *', 'America/St_Johns', '2028-02-27T00:00Z', '2028-03-02T00:00Z')).toEqual([
      '2028-02-29T03:30',
    ]);
    expect(performance.now() - started).toBeLessThan(5000);
  });
});

describe('checkCronPattern', () => {
  it.each([
    ['*/90 * * * *', /^everyS: 5400 instead of cron/],
    ['0-59/61 * * * *', /^everyS: 3660 /],
    ['0 */36 * * *', /^0, or a step of at most 24 /],
    ['*/5,*/120 * * * *', /^everyS: 7200 /],
    ['0 0 */40 * *', /^1, or a step of at most 31 /],
    ['0 0 1 */13 *', /^1, or a step of at most 12 /],
    ['10-20/15 * * * *', /^10, or a step of at most 11 /],
  ])('refuses a step that is longer than its range: %s', (pattern, wanted) => {
    expect(checkCronPattern(pattern)).toMatch(wanted);
  });

  it.each(['*/60 * * * *', '0 */24 * * *', '0 0 * * */7', '*/59 * * * *', '0 6-20/2 * * *'])(
    'accepts the step of %s',
    (pattern) => {
      expect(checkCronPattern(pattern)).toBeNull();
    },
  );

  it.each(['* * * * *', '*/5 6-18 * * mon-fri', '0 0 l * *', '0 0 * * 1#2'])('accepts %s', (pattern) => {
    expect(checkCronPattern(pattern)).toBeNull();
  });
  it.each(['* * * * * *', '@hourly', '', '61 * * * *', 'a b c d e', '* * * *', '0 0 31 2 *', '*/0 * * * *'])(
    'rejects %j',
    (pattern) => {
      expect(checkCronPattern(pattern)).toMatch(/^(a cron pattern|five fields)/);
    },
  );
});
