import { getPosition, getTimes, type SunTimeName } from 'suncalc';
import type { ScheduleSettings, SunEvent } from '../config/schema.ts';

export interface Location {
  readonly lat: number;
  readonly lon: number;
}

/** The sun's altitude at each event, degrees, and the side of noon that it lies on. Source: suncalc's own table. */
const EVENTS: Record<SunEvent, { readonly altitudeDeg: number; readonly rising: boolean }> = {
  nightEnd: { altitudeDeg: -18, rising: true },
  nauticalDawn: { altitudeDeg: -12, rising: true },
  dawn: { altitudeDeg: -6, rising: true },
  sunrise: { altitudeDeg: -0.833, rising: true },
  sunset: { altitudeDeg: -0.833, rising: false },
  dusk: { altitudeDeg: -6, rising: false },
  nauticalDusk: { altitudeDeg: -12, rising: false },
  night: { altitudeDeg: -18, rising: false },
};
const NAMES: ReadonlyMap<number, { readonly rise: SunTimeName; readonly set: SunTimeName }> = new Map([
  [-18, { rise: 'nightEnd', set: 'night' }],
  [-12, { rise: 'nauticalDawn', set: 'nauticalDusk' }],
  [-6, { rise: 'dawn', set: 'dusk' }],
  [-0.833, { rise: 'sunrise', set: 'sunset' }],
]);

/** Is the window open at this instant? */
export type SunWindow = (atMs: number) => boolean;

/**
 * A window between two events of the sun, such as dawn to dusk, or dusk to dawn through midnight. Where an event does
 * not occur (polar day and night) the sun's height decides: dawn to dusk is open all day in the polar summer, and
 * closed in the polar winter.
 */
export function sunWindow(sun: NonNullable<ScheduleSettings['sun']>, location: Location): SunWindow {
  const from = EVENTS[sun.from];
  const to = EVENTS[sun.to];
  if (from.rising !== to.rising) {
    // A day (rising to setting) is open while the sun is above, a night while it is below.
    const day = from.rising;
    return (atMs) => {
      const { rising, above } = sunAt(atMs, location);
      return above(rising === day ? from.altitudeDeg : to.altitudeDeg) === day;
    };
  }
  // Both on one side of noon: the band between the two altitudes, or all but that band.
  const upper = Math.max(from.altitudeDeg, to.altitudeDeg);
  const lower = Math.min(from.altitudeDeg, to.altitudeDeg);
  const band = from.rising ? from.altitudeDeg === lower : from.altitudeDeg === upper;
  return (atMs) => {
    const { rising, above } = sunAt(atMs, location);
    const within = rising === from.rising && above(lower) && !above(upper);
    return within === band;
  };
}

interface SunAt {
  /** Between the lowest point and noon. */
  readonly rising: boolean;
  /** Has the sun risen over this altitude and not yet set below it? */
  readonly above: (altitudeDeg: number) => boolean;
}

function sunAt(atMs: number, { lat, lon }: Location): SunAt {
  const times = getTimes(new Date(atMs), lat, lon);
  const rising = atMs < times.solarNoon.getTime();
  return {
    rising,
    above: (altitudeDeg) => {
      const names = NAMES.get(altitudeDeg);
      const event = names ? times[rising ? names.rise : names.set] : null;
      if (event) return rising ? atMs >= event.getTime() : atMs < event.getTime();
      // The sun stays on one side of this altitude all day: so does the middle of its path.
      const highest = getPosition(times.solarNoon, lat, lon).altitude;
      const lowest = getPosition(times.nadir, lat, lon).altitude;
      return (highest + lowest) / 2 > altitudeDeg;
    },
  };
}
