import { waveBand } from './wave-band.ts';
import { fitBackground } from './background.ts';
import type { Spectrum } from './types.ts';

/** One peak of a spectrum: a run of frequencies at which the density is above the background. */
export interface WaveTrain {
  /** Peak period, seconds. */
  readonly periodS: number;
  /** Frequency with the most energy above the background. */
  readonly peakBin: number;
  /** Energy above the background, in the unit of the density. */
  readonly energy: number;
  /** Density divided by background at `peakBin`. */
  readonly snr: number;
}

/**
 * The peak frequency is the mean frequency weighted with this power of the density: it depends less on single estimates
 * than the highest bin does (Sobey and Young 1986, Young 1995).
 */
const PEAK_POWER = 4;
/** A train with a smaller share of the energy of the strongest one is left out. */
const MIN_ENERGY_SHARE = 0.25;
/** A train at twice the frequency of another one is its harmonic when it has less than this share of its energy. */
const MAX_HARMONIC_SHARE = 0.5;

/** Finds the wave trains of a spectrum, the most energetic first. */
export function findWaveTrains({ frequenciesHz, density, background }: Spectrum): readonly WaveTrain[] {
  const { first, last } = waveBand(frequenciesHz);
  const excess = (bin: number): number => Math.max(0, (density[bin] ?? 0) - (background[bin] ?? 0));
  const trains: WaveTrain[] = [];
  for (let bin = first; bin <= last; bin += 1) {
    if (excess(bin) === 0) continue;
    const from = bin;
    while (bin < last && excess(bin + 1) > 0) bin += 1;
    trains.push(summarise(from, bin, excess, frequenciesHz, { density, background }));
  }
  return trains.toSorted((a, b) => b.energy - a.energy);
}

function summarise(
  from: number,
  to: number,
  excess: (bin: number) => number,
  frequenciesHz: Float64Array,
  { density, background }: Pick<Spectrum, 'density' | 'background'>,
): WaveTrain {
  let energy = 0;
  let weight = 0;
  let moment = 0;
  let peakBin = from;
  for (let bin = from; bin <= to; bin += 1) {
    const height = excess(bin);
    energy += height;
    weight += height ** PEAK_POWER;
    moment += height ** PEAK_POWER * (frequenciesHz[bin] ?? 0);
    if (excess(bin) > excess(peakBin)) peakBin = bin;
  }
  return {
    periodS: weight / moment,
    peakBin,
    energy,
    snr: (density[peakBin] ?? 0) / Math.max(background[peakBin] ?? 0, 1e-12),
  };
}

/**
 * The dominant train and the second one, of those with at least `minSnr`. Waves that break are no sinusoids: a train at
 * twice the frequency of another one may be its harmonic, and then does not count.
 */
export function rankTrains(
  trains: readonly WaveTrain[],
  minSnr: number,
): { readonly main: WaveTrain | null; readonly second: WaveTrain | null } {
  const [strongest] = trains;
  if (!strongest) return { main: null, second: null };
  const strong = trains.filter(
    ({ energy, snr }) => snr >= minSnr && energy >= strongest.energy * MIN_ENERGY_SHARE,
  );
  const isHarmonicOf = (train: WaveTrain, other: WaveTrain): boolean =>
    Math.abs(train.peakBin - 2 * other.peakBin) <= 1 && train.energy < other.energy * MAX_HARMONIC_SHARE;
  const own = strong.filter((train) => !strong.some((other) => isHarmonicOf(train, other)));
  return { main: own[0] ?? null, second: own[1] ?? null };
}

/** The spectrum with its background. */
export function toSpectrum(frequenciesHz: Float64Array, density: Float64Array): Spectrum {
  const minHz = frequenciesHz[waveBand(frequenciesHz).first] ?? 0;
  return { frequenciesHz, density, background: fitBackground(frequenciesHz, density, minHz) };
}
