import { expect, it } from 'vitest';
import { UNCALIBRATED } from '../../../src/calibration/site-calibration.ts';
import { formatBar, formatCalibration, formatTable } from '../../../src/cli/format.ts';

it('formats a bar of ten characters', () => {
  expect([-5, 0, 44, 100, 400].map(formatBar)).toEqual([
    '----------',
    '----------',
    '####------',
    '##########',
    '##########',
  ]);
});

it('aligns the columns of a table', () => {
  expect(
    formatTable([
      ['a', 'one'],
      ['long', ''],
    ]),
  ).toEqual(['a     one', 'long']);
});

it.each([
  [{ labels: 0 }, '0 labels, 8 more sessions needed'],
  [{ labels: 8, sessions: 1, labels_wanted: 7 }, '8 labels in 1 session, 7 more sessions needed'],
  [{ labels: 9, sessions: 7, labels_wanted: 1 }, '9 labels in 7 sessions, 1 more session needed'],
  [
    { labels: 12, sessions: 9, labels_wanted: 0, loo_mae_m: 0.2, loo_median_mae_m: 0.3 },
    '12 labels in 9 sessions, error 0.20 m, error of the median 0.30 m',
  ],
  [
    { labels_wanted: 0, labels_kept: 12, view: 'changed' as const },
    'the view has changed: 12 labels of another view are kept',
  ],
  [
    { labels: 1, sessions: 1, labels_wanted: 7, labels_kept: 1, view: 'same' as const },
    '1 label in 1 session, 7 more sessions needed, 1 label of another view is kept',
  ],
])('formats the state of a calibration: %j', (summary, text) => {
  expect(formatCalibration({ ...UNCALIBRATED, ...summary })).toBe(text);
});
