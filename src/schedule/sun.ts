import { getPosition, getTimes, type SunTimeName } from 'suncalc';
import type { ScheduleSettings, SunEvent } from '../config/schema.ts';

export interface Location {
  readonly lat: number;
  readonly lon: number;
}

/** Altitude of the sun at each event, degrees, and whether the event is before noon. Source: suncalc's own table. */
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

/** Returns true when the window is open at the instant `atMs`, ms since 1970. */
export type SunWindow = (atMs: number) => boolean;

/**
 * A window between two events of the sun, such as dawn to dusk, or dusk to dawn across midnight. Where an event does
 * not occur (polar day and polar night) the altitude of the sun decides: dawn to dusk is open all day in the polar
 * summer, and closed in the polar winter.
 */
export function sunWindow(sun: NonNullable<ScheduleSettings['sun']>, location: Location): SunWindow {
  const from = EVENTS[sun.from];
  const to = EVENTS[sun.to];
  if (from.rising !== to.rising) {
    // Rising to setting: open while the sun is above the altitude. Setting to rising: open while it is below.
    const isDay = from.rising;
    return (atMs) => {
      const { rising, isAbove } = sunAt(atMs, location);
      return isAbove(rising === isDay ? from.altitudeDeg : to.altitudeDeg) === isDay;
    };
  }
  // Both events on the same side of noon: open inside the band between the two altitudes, or outside of it.
  const upper = Math.max(from.altitudeDeg, to.altitudeDeg);
  const lower = Math.min(from.altitudeDeg, to.altitudeDeg);
  const opensInBand = from.rising ? from.altitudeDeg === lower : from.altitudeDeg === upper;
  return (atMs) => {
    const { rising, isAbove } = sunAt(atMs, location);
    const inBand = rising === from.rising && isAbove(lower) && !isAbove(upper);
    return inBand === opensInBand;
  };
}

interface SunAt {
  /** True while the sun rises, from its lowest point to noon. */
  readonly rising: boolean;
  /** True when the sun has risen over this altitude and not yet set below it. */
  readonly isAbove: (altitudeDeg: number) => boolean;
}

function sunAt(atMs: number, { lat, lon }: Location): SunAt {
  const times = getTimes(new Date(atMs), lat, lon);
  const rising = atMs < times.solarNoon.getTime();
  return {
    rising,
    isAbove: (altitudeDeg) => {
      const names = NAMES.get(altitudeDeg);
      const event = names ? times[rising ? names.rise : names.set] : null;
      if (event) return rising ? atMs >= event.getTime() : atMs < event.getTime();
      // The sun stays above or below this altitude all day, so the middle of its path shows which.
      const highest = getPosition(times.solarNoon, lat, lon).altitude;
      const lowest = getPosition(times.nadir, lat, lon).altitude;
      return (highest + lowest) / 2 > altitudeDeg;
    },
  };
}
