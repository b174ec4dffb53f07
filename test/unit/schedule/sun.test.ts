import { describe, expect, it } from 'vitest';
import type { SunEvent } from '../../../src/config/schema.ts';
import { sunWindow } from '../../../src/schedule/sun.ts';

const LISBON = { lat: 38.7, lon: -9.4 };
const TROMSO = { lat: 69.65, lon: 18.96 };
const AUCKLAND = { lat: -36.8, lon: 174.8 };
const FIJI_DATELINE = { lat: -16.8, lon: -179.99 };

/** The times of the UTC day at which the window is open, as `HH:MM-HH:MM` spans without their end. */
function openTimes(from: SunEvent, to: SunEvent, place: { lat: number; lon: number }, day: string): string[] {
  const open = sunWindow({ from, to }, place);
  const startMs = Date.parse(`${day}T00:00Z`);
  const spans: string[] = [];
  let openedAt: string | null = null;
  for (let minute = 0; minute <= 1440; minute += 1) {
    const now = minute < 1440 && open(startMs + minute * 60_000);
    const clock = `${String(Math.floor(minute / 60)).padStart(2, '0')}:${String(minute % 60).padStart(2, '0')}`;
    if (now && openedAt === null) openedAt = clock;
    if (!now && openedAt !== null) {
      spans.push(`${openedAt}-${clock}`);
      openedAt = null;
    }
  }
  return spans;
}

describe('sunWindow', () => {
  // Almanac: Lisbon 2026-06-21, sunrise 06:12, sunset 21:05 local time (UTC+1).
  it('agrees with the almanac within two minutes for sunrise to sunset', () => {
    const [span = ''] = openTimes('sunrise', 'sunset', { lat: 38.7223, lon: -9.1393 }, '2026-06-21');
    expect(span).toMatch(/^05:1[0-4]-20:0[3-7]$/);
  });

  it('crosses midnight for dusk to dawn', () => {
    const spans = openTimes('dusk', 'dawn', LISBON, '2026-01-15');
    expect(spans).toHaveLength(2);
    expect(spans[0]).toMatch(/^00:00-07:2/);
    expect(spans[1]).toMatch(/^18:[01].-24:00$/);
  });

  it('works where the UTC day and the solar day differ', () => {
    expect(openTimes('sunrise', 'sunset', AUCKLAND, '2026-06-21').map((span) => span.length)).toEqual([
      11, 11,
    ]);
    expect(openTimes('sunrise', 'sunset', FIJI_DATELINE, '2026-06-21')).toHaveLength(2);
  });

  it('supports two events on the same side of noon, in both orders', () => {
    const [morning = ''] = openTimes('dawn', 'sunrise', LISBON, '2026-03-20');
    expect(morning).toMatch(/^06:1.-06:4/);
    const rest = openTimes('sunrise', 'dawn', LISBON, '2026-03-20');
    const [, dawnEnds] = morning.split('-');
    expect(rest).toEqual([`00:00-${morning.split('-')[0] ?? ''}`, `${dawnEnds ?? ''}-24:00`]);
    expect(openTimes('sunset', 'dusk', LISBON, '2026-03-20')[0]).toMatch(/^18:5.-19:[12]/);
  });

  it('opens daylight windows all day in the polar day and not at all in the polar night, and night windows the other way round', () => {
    expect(openTimes('sunrise', 'sunset', TROMSO, '2026-06-21')).toEqual(['00:00-24:00']);
    expect(openTimes('dawn', 'dusk', TROMSO, '2026-06-21')).toEqual(['00:00-24:00']);
    expect(openTimes('sunset', 'sunrise', TROMSO, '2026-06-21')).toEqual([]);
    expect(openTimes('sunrise', 'sunset', TROMSO, '2026-12-21')).toEqual([]);
    expect(openTimes('sunset', 'sunrise', TROMSO, '2026-12-21')).toEqual(['00:00-24:00']);
    // There is civil twilight at noon in the polar night of Tromsø.
    expect(openTimes('dawn', 'dusk', TROMSO, '2026-12-21')).toHaveLength(1);
  });

  it('closes sunrise to dusk at the lowest point of a sun that never reaches dusk', () => {
    const swedenAt65N = { lat: 65, lon: 18 };
    const spans = openTimes('sunrise', 'dusk', swedenAt65N, '2026-06-10');
    expect(spans.length).toBeGreaterThan(0);
    expect(spans).not.toEqual(['00:00-24:00']);
  });

  it('opens all day or not at all at the poles', () => {
    for (const lat of [90, -90])
      expect(openTimes('sunrise', 'sunset', { lat, lon: 0 }, '2026-06-21')).toEqual(
        lat > 0 ? ['00:00-24:00'] : [],
      );
  });
});
