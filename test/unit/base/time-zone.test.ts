import { expect, it } from 'vitest';
import { formatLocalTime } from '../../../src/base/time-zone.ts';

it('formatLocalTime shows seconds only where there are some, so that slots within a minute differ', () => {
  const format = (at: string): string => formatLocalTime(Date.parse(at), 'Europe/Lisbon');
  expect(format('2026-06-01T12:00:00Z')).toBe('2026-06-01 13:00 Europe/Lisbon');
  expect(format('2026-06-01T12:00:20Z')).toBe('2026-06-01 13:00:20 Europe/Lisbon');
});
