import { smoothstep, unit, wander } from './noise.ts';
import { DEFAULT_DIRECTION_DEG, type Swell } from './sea-state.ts';

const GRAVITY = 9.81;
const COMPONENTS = 60;
/** Components with less than this share of the variance are skipped. */
const MIN_VARIANCE_SHARE = 0.001;
/** Water depth outside the surf, where the waves come from. */
const DEEP_M = 60;
/** Range of the periods of the components. Waves with shorter periods are drawn as texture. */
const MIN_PERIOD_S = 3.4;
const MAX_PERIOD_S = 19;
/** Spacing of the grid of distances from the shore, metres. */
const GRID_M = 2;
const GRID_POINTS = 420;

/** Number of entries of a full turn in the cosine table. Phases are measured in entries. */
const TURN = 4096;
const QUARTER = TURN / 4;

/** Water depth at a distance from the shore, metres: Dean's equilibrium profile h = A c^(2/3) with a sand bar. */
export function depthM(cM: number): number {
  const c = Math.max(0, cM);
  const bar = 0.45 * Math.exp(-(((c - 62) / 16) ** 2));
  return Math.max(0.12, 0.15 * c ** (2 / 3) - bar);
}

/** Wave number of a period at a depth, rad/m: omega^2 = g k tanh(k h) by Newton's method. */
export function waveNumber(periodS: number, depth: number): number {
  const omega2 = ((2 * Math.PI) / periodS) ** 2;
  let k = Math.max(omega2 / GRAVITY, Math.sqrt(omega2 / (GRAVITY * depth)));
  for (let round = 0; round < 6; round += 1) {
    const tanh = Math.tanh(k * depth);
    const error = GRAVITY * k * tanh - omega2;
    k -= error / (GRAVITY * (tanh + k * depth * (1 - tanh * tanh)));
  }
  return k;
}

/** A wave breaks when it is higher than this share of the water depth (McCowan 1894). */
export const BREAKING = 0.78;
/** Waves break inside the first depth, and not beyond the second one, metres. */
const SURF_M = { inner: 5, outer: 12 } as const;

/**
 * The depth that gives the speed of waves: in the surf a wave of height H runs as in the depth h + H/2 (Hedges 1976). Its
 * height is taken as that of a breaking wave.
 */
const hydraulicDepthM = (depth: number): number =>
  depth * (1 + (BREAKING / 2) * (1 - smoothstep(SURF_M.inner, SURF_M.outer, depth)));

/** Speed of waves in shallow water, m/s. */
export const surfSpeed = (depth: number): number => Math.sqrt(GRAVITY * hydraulicDepthM(depth));

/** Group velocity, m/s: the speed of the wave energy. */
function groupSpeed(periodS: number, depth: number): number {
  const k = waveNumber(periodS, depth);
  const kh = Math.min(20, k * depth);
  return ((2 * Math.PI) / periodS / k) * (0.5 + kh / Math.sinh(2 * kh));
}

/** Shape of the JONSWAP spectrum, gamma 3.3, not scaled. Source: Hasselmann et al. 1973. */
function jonswap(frequency: number, peak: number): number {
  const sigma = frequency <= peak ? 0.07 : 0.09;
  const bump = Math.exp(-((frequency / peak - 1) ** 2) / (2 * sigma * sigma));
  return frequency ** -5 * Math.exp(-1.25 * (peak / frequency) ** 4) * 3.3 ** bump;
}

/** The analytic signal at a point: elevation (up) and its quadrature (across). Phase: atan2(across, up), 0 on a crest. */
export interface Analytic {
  upM: number;
  acrossM: number;
}

/**
 * A sum of long-crested components of fixed period and direction. Their height and direction change over a bottom whose
 * depth depends only on the distance from the shore. Only the amplitudes follow the sea state, so that the waves move
 * without jumps while the sea changes.
 */
export class WaveField {
  readonly #cosine = Float32Array.from({ length: TURN }, (_, i) => Math.cos((2 * Math.PI * i) / TURN));
  readonly #frequency = new Float64Array(COMPONENTS);
  readonly #bandwidth = new Float64Array(COMPONENTS);
  readonly #start = new Float64Array(COMPONENTS);
  readonly #along = new Float64Array(COMPONENTS);
  /** Phase from the shore outwards and shoaling factor, by grid point, then by component. */
  readonly #phase = new Float32Array(COMPONENTS * GRID_POINTS);
  readonly #shoaling = new Float32Array(COMPONENTS * GRID_POINTS);
  readonly #depth = Float32Array.from({ length: GRID_POINTS * 4 }, (_, i) => depthM((i * GRID_M) / 4));
  /** Number of components that are not skipped; the arrays below contain only these, for the moment of `set`. */
  #active = 0;
  readonly #activePhase = new Float32Array(COMPONENTS * GRID_POINTS);
  readonly #activeSize = new Float32Array(COMPONENTS * GRID_POINTS);
  readonly #activeAlong = new Float32Array(COMPONENTS);
  readonly #activeNow = new Float32Array(COMPONENTS);
  /** Entries per second. */
  readonly #activeTurning = new Float32Array(COMPONENTS);

  readonly #seed: number;
  /** The directions for which the tables were computed. */
  #directions = '';

  constructor(seed: number) {
    this.#seed = seed;
    const ratio = (MAX_PERIOD_S / MIN_PERIOD_S) ** (1 / COMPONENTS);
    for (let i = 0; i < COMPONENTS; i += 1) {
      const periodS = MAX_PERIOD_S / ratio ** (i + 0.1 + 0.8 * unit(seed, 601, i));
      this.#frequency[i] = 1 / periodS;
      this.#bandwidth[i] = (ratio - 1) / periodS;
      this.#start[i] = unit(seed, 602, i);
    }
  }

  /** Computes the tables, when the directions of the trains are not those of the scene before. */
  #refract(swells: readonly Swell[]): void {
    const degrees = swells.map(({ directionDeg = DEFAULT_DIRECTION_DEG }) => directionDeg);
    const isSame = degrees.every((one) => one === degrees[0]);
    const directions = isSame ? String(degrees[0]) : JSON.stringify(swells);
    if (directions === this.#directions) return;
    this.#directions = directions;
    for (let i = 0; i < COMPONENTS; i += 1) {
      const periodS = 1 / (this.#frequency[i] ?? 1);
      const distance = (swell: Swell): number => Math.abs(Math.log(swell.periodS / periodS));
      const nearest = swells.toSorted((a, b) => distance(a) - distance(b))[0];
      const meanRad = ((nearest?.directionDeg ?? DEFAULT_DIRECTION_DEG) * Math.PI) / 180;
      // Distant swell comes from one direction. The wind sea has a wide range of directions.
      const spreadRad = 0.14 + 0.49 * (i / COMPONENTS) ** 1.2;
      const along =
        waveNumber(periodS, DEEP_M) * Math.sin(meanRad + spreadRad * (2 * unit(this.#seed, 603, i) - 1));
      this.#along[i] = (along * TURN) / (2 * Math.PI);
      const speed = groupSpeed(periodS, DEEP_M);
      let phase = 0;
      for (let point = 0; point < GRID_POINTS; point += 1) {
        const depth = depthM(point * GRID_M);
        const k = waveNumber(periodS, hydraulicDepthM(depth));
        phase += Math.sqrt(Math.max(0.2 * k * k, k * k - along * along)) * GRID_M;
        this.#phase[point * COMPONENTS + i] = (phase * TURN) / (2 * Math.PI);
        this.#shoaling[point * COMPONENTS + i] = Math.min(1.6, Math.sqrt(speed / groupSpeed(periodS, depth)));
      }
    }
  }

  /** Sets the sea state and the moment for all following samples. */
  set(swells: readonly Swell[], motionS: number): void {
    this.#refract(swells);
    const variance = new Float64Array(COMPONENTS);
    let totalVariance = 0;
    for (const { heightM, periodS } of swells) {
      const shape = this.#frequency.map((f, i) => jonswap(f, 1 / periodS) * (this.#bandwidth[i] ?? 0));
      const total = shape.reduce((sum, s) => sum + s, 0) || 1;
      // The variance of a train is (H / 4)^2.
      shape.forEach((s, i) => (variance[i] = (variance[i] ?? 0) + ((heightM / 4) ** 2 * s) / total));
      totalVariance += (heightM / 4) ** 2;
    }
    let active = 0;
    for (let i = 0; i < COMPONENTS; i += 1) {
      const part = variance[i] ?? 0;
      if (part < totalVariance * MIN_VARIANCE_SHARE) continue;
      const amplitude = Math.sqrt(2 * part);
      const turns = (this.#start[i] ?? 0) + motionS * (this.#frequency[i] ?? 0);
      this.#activeNow[active] = (turns - Math.floor(turns)) * TURN;
      this.#activeTurning[active] = TURN * (this.#frequency[i] ?? 0);
      this.#activeAlong[active] = this.#along[i] ?? 0;
      for (let from = i, to = active; from < this.#phase.length; from += COMPONENTS, to += COMPONENTS) {
        this.#activePhase[to] = this.#phase[from] ?? 0;
        this.#activeSize[to] = amplitude * (this.#shoaling[from] ?? 0);
      }
      active += 1;
    }
    this.#active = active;
  }

  /** Still water depth, metres. */
  depthAt(cM: number): number {
    const at = Math.max(0, Math.min(this.#depth.length - 1, Math.round((cM * 4) / GRID_M)));
    return this.#depth[at] ?? 0;
  }

  /**
   * The wave at a point before breaking, at `agoS` before the moment of `set`, written to `out`: no allocation, because this
   * runs 100,000 times per image.
   */
  sample(sM: number, cM: number, out: Analytic, agoS = 0): void {
    const grid = Math.max(0, cM) / GRID_M;
    const point = Math.min(GRID_POINTS - 2, grid | 0);
    // Beyond the grid the last slope continues: the water is deep there, so the phase is linear.
    const part = grid - point;
    const cosine = this.#cosine;
    const phases = this.#activePhase;
    const sizes = this.#activeSize;
    const now = this.#activeNow;
    const along = this.#activeAlong;
    const turning = this.#activeTurning;
    const last = point * COMPONENTS + this.#active;
    let up = 0;
    let across = 0;
    for (let at = point * COMPONENTS, i = 0; at < last; at += 1, i += 1) {
      const phase = phases[at] ?? 0;
      const onward = ((phases[at + COMPONENTS] ?? 0) - phase) * part;
      const index = ((now[i] ?? 0) + phase + onward - (along[i] ?? 0) * sM - (turning[i] ?? 0) * agoS) | 0;
      const size = sizes[at] ?? 0;
      up += size * (cosine[index & (TURN - 1)] ?? 0);
      across += size * (cosine[(index - QUARTER) & (TURN - 1)] ?? 0);
    }
    out.upM = up;
    out.acrossM = across;
  }
}

/** Swash: how far the thin sheet of water runs up the sand, metres along the sand. It follows the incoming waves. */
export class Swash {
  static readonly #stepM = 2;
  static readonly #fromM = -900;
  readonly #reach = new Float32Array(620);
  readonly largestM: number;

  constructor(field: WaveField, seed: number, heightM: number, periodS: number, motionS: number) {
    this.largestM = 0.8 + 1.6 * Math.sqrt(heightM * periodS * 0.8);
    const out: Analytic = { upM: 0, acrossM: 0 };
    // The edge of a flat sea does not move.
    const moving = 0.3 * smoothstep(0, 0.25, heightM);
    for (let i = 0; i < this.#reach.length; i += 1) {
      const sM = Swash.#fromM + i * Swash.#stepM;
      field.sample(sM, 5, out);
      const wave = Math.max(-1, Math.min(1, out.upM / (0.3 * heightM + 0.05)));
      const tongue = wander(seed + 701, sM / 9 + motionS * 0.02) - 0.5;
      this.#reach[i] = this.largestM * (0.55 + 0.3 * wave + moving * tongue);
    }
  }

  at(sM: number): number {
    const place = (sM - Swash.#fromM) / Swash.#stepM;
    const i = Math.max(0, Math.min(this.#reach.length - 2, Math.floor(place)));
    const a = this.#reach[i] ?? 0;
    return a + ((this.#reach[i + 1] ?? 0) - a) * Math.max(0, Math.min(1, place - i));
  }
}
