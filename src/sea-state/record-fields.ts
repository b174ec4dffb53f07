import type { SeaStateRecord } from '../contract/sea-state.ts';
import type { Breaking, PeriodEstimate } from './types.ts';

/** The field `period` of a record. */
export const periodFields = (period: PeriodEstimate): SeaStateRecord['period'] => ({
  peak_s: rounded(period.peakS),
  low_s: rounded(period.lowS),
  high_s: rounded(period.highS),
  coverage: period.coverage,
  energy_s: rounded(period.energyS),
  second_s: period.second && rounded(period.second.peakS),
  second_low_s: period.second?.interval ? rounded(period.second.interval.lowS) : null,
  second_high_s: period.second?.interval ? rounded(period.second.interval.highS) : null,
  mixed_sea: period.second !== null,
  coherence: rounded(period.coherence),
  snr: rounded(period.snr),
});

/** The field `breaking` of a record. */
export const breakingFields = (breaking: Breaking): SeaStateRecord['breaking'] => ({
  white_share: Math.round(breaking.whiteShare * 10_000) / 10_000,
  per_minute: breaking.perMinute === null ? null : rounded(breaking.perMinute),
  sets: breaking.sets,
  set_interval_s: breaking.setIntervalS === null ? null : Math.round(breaking.setIntervalS),
});

/** The field `travel_deg` of a record. */
export const travelField = (travelDeg: number | null): number | null =>
  travelDeg === null ? null : Math.round(travelDeg) % 360;

const rounded = (value: number): number => Math.round(value * 100) / 100;
