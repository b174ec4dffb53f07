import { measureBreaking } from './breaking.ts';
import { activeCells, findMovingCells } from './active-cells.ts';
import { bootstrapPeriods, INTERVAL_COVERAGE, intervalOf, nearestPeriods } from './period-interval.ts';
import { isRepeated } from './repetition.ts';
import { cellPowers, medianDensity, segmentSpectra } from './spectra.ts';
import { findTravel } from './travel.ts';
import type {
  ClipFindings,
  PeriodEstimate,
  PixelSeries,
  SeaStateEstimate,
  SeaStateReason,
  SeaStateWarning,
  Spectrum,
} from './types.ts';
import { waveBand } from './wave-band.ts';
import { findWaveTrains, rankTrains, toSpectrum } from './wave-trains.ts';

/** Seven waves of the longest period, and two segments. */
export const MIN_DURATION_S = 180;
/** Two and a half samples for the shortest wave, as frames arrive late now and then. */
export const MIN_RATE_HZ = 0.8;
const MAX_MISSING_SHARE = 0.2;
const MAX_GAP_S = 10;
/** Mean grey value of a picture by night, with a moon and lamps. */
const MIN_LUMA = 20;
/** Peaks of a spectrum of noise reach this height above the background. */
const MIN_SNR = 1.4;
/** Share of the values that may change in a frozen picture: registration can move a cell over the border between two levels. */
const MAX_FROZEN_CHANGES = 1e-4;
/** Neighbouring cells without common waves reach this value by chance. */
const MIN_COHERENCE = 0.4;
/** Waves that run back from a steep shore have less energy than this share. */
const MIN_SHOREWARD = 0.6;
/** A second train with at least this share of the energy of the first may as well be the dominant one. */
const SIMILAR_ENERGY_SHARE = 0.7;
/** An interval that is wider than this ratio says nothing. */
const MAX_INTERVAL_RATIO = 2;

export interface EstimateOptions {
  /** True when the columns are known to run from the sea to the shore. Waves must then travel down the columns. */
  readonly isShoreKnown: boolean;
  /** Null for a time stack: it has no pictures. */
  readonly findings: ClipFindings | null;
}

/**
 * Measures the period of the waves in a clip, or says why it cannot be known. The same input gives the same result.
 * Takes about a second of processor time for a clip of 512 s and 5,000 cells.
 */
export function estimateSeaState(series: PixelSeries, options: EstimateOptions): SeaStateEstimate {
  const durationS = series.samples / series.rateHz;
  const { findings } = options;
  const refused = (
    reasons: readonly SeaStateReason[],
    found: Partial<SeaStateEstimate> = {},
  ): SeaStateEstimate => ({
    ...{ durationS, period: null, warnings: [], breaking: null },
    ...{ travelDeg: null, shoreward: null, cells: [], spectrum: null },
    ...found,
    reasons,
  });
  /** Another fault of the pictures explains why no waves are found; with waves, it does no harm. */
  const unseen = (reason: SeaStateReason, found: Partial<SeaStateEstimate> = {}): SeaStateEstimate =>
    refused([...(findings?.faults ?? []), reason], found);
  const unusable = checkSeries(series);
  if (unusable.length > 0) return refused(unusable);
  if (findings?.hasMoved === true) return refused(['view_changed']);
  // Through fog only the nearest waves are seen, and nothing tells that they are the waves of the sea.
  if (findings?.faults.includes('fog')) return refused(['fog']);
  const moving = findMovingCells(series);
  if (moving.length === 0) return unseen('no_water');
  const cells = activeCells(moving, series);
  if (isRepeated(series, cells)) return refused(['repeated'], { cells });

  const spectra = segmentSpectra(series, cells);
  const powers = cellPowers(spectra);
  const spectrum = toSpectrum(spectra.frequenciesHz, medianDensity(powers));
  const { main, second } = rankTrains(findWaveTrains(spectrum), MIN_SNR);
  if (!main) return unseen('no_peak', { cells, spectrum });
  const bins = { from: main.peakBin - 1, to: main.peakBin + 1 };
  const travel = findTravel(spectra, series, bins);
  const found = {
    cells,
    spectrum,
    travelDeg: travel?.travelDeg ?? null,
    shoreward: travel?.shoreward ?? null,
  };
  if (!travel || travel.coherence < MIN_COHERENCE) return unseen('incoherent', found);
  if (options.isShoreKnown && travel.shoreward < MIN_SHOREWARD) return refused(['seaward'], found);
  const { nearest, other } = nearestPeriods(bootstrapPeriods(powers, MIN_SNR), main.periodS);
  const interval = intervalOf(main.periodS, nearest, powers);
  if (!interval || interval.highS / interval.lowS > MAX_INTERVAL_RATIO) return unseen('no_peak', found);
  const period: PeriodEstimate = {
    peakS: main.periodS,
    ...interval,
    coverage: INTERVAL_COVERAGE,
    energyS: energyPeriod(spectrum),
    second: second && {
      peakS: second.periodS,
      interval: intervalOf(second.periodS, other, powers),
      energyShare: second.energy / main.energy,
    },
    coherence: travel.coherence,
    snr: main.snr,
  };
  const breaking = measureBreaking(series, moving, { periodS: main.periodS, ...options });
  const isSimilar = (period.second?.energyShare ?? 0) >= SIMILAR_ENERGY_SHARE;
  const warnings: SeaStateWarning[] = [
    ...(isSimilar ? (['similar_trains'] as const) : []),
    ...(findings?.isRegistered === false ? (['unregistered'] as const) : []),
  ];
  return {
    durationS,
    reasons: [],
    period,
    warnings,
    breaking,
    ...found,
  };
}

function checkSeries(series: PixelSeries): readonly SeaStateReason[] {
  const { samples, rateHz, missing, longestGapS, values } = series;
  const reasons: SeaStateReason[] = [];
  if (samples / rateHz < MIN_DURATION_S) reasons.push('too_short');
  if (rateHz < MIN_RATE_HZ) reasons.push('too_few_frames');
  if (missing > samples * MAX_MISSING_SHARE || longestGapS > MAX_GAP_S) reasons.push('gaps');
  if (reasons.length > 0) return reasons;
  let sum = 0;
  // An iterator would take ten times as long.
  for (let at = 0; at < values.length; at += 1) sum += values[at] ?? 0;
  if (sum / values.length < MIN_LUMA) return ['dark'];
  return isFrozen(series) ? ['frozen'] : [];
}

function isFrozen({ values, columns, rows }: PixelSeries): boolean {
  const stride = columns * rows;
  let changes = 0;
  for (let at = stride; at < values.length; at += 1) if (values[at] !== values[at - stride]) changes += 1;
  return changes <= MAX_FROZEN_CHANGES * values.length;
}

/** The energy period: moment -1 over moment 0 of the spectrum above its background, seconds. */
function energyPeriod({ frequenciesHz, density, background }: Spectrum): number {
  const { first, last } = waveBand(frequenciesHz);
  let energy = 0;
  let moment = 0;
  for (let bin = first; bin <= last; bin += 1) {
    const excess = Math.max(0, (density[bin] ?? 0) - (background[bin] ?? 0));
    energy += excess;
    moment += excess / (frequenciesHz[bin] ?? 1);
  }
  return moment / energy;
}
