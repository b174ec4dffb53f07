import { unit, wander } from './noise.ts';
import type { Swell } from './sea-state.ts';

const GRAVITY = 9.81;
const COMPONENTS = 30;
/** Periods of the components, seconds: shorter waves are drawn as texture. */
const SHORTEST_S = 3.4;
const LONGEST_S = 19;
/** Grid over the distance from the shore, metres. */
const GRID_M = 2;
const GRID_POINTS = 420;

/** Entries of a whole turn in the cosine table; phases are kept in these units. */
const TURN = 4096;
const QUARTER = TURN / 4;

/** Water depth by distance from the shore: Dean's equilibrium profile h = A c^(2/3) with a bar, metres. */
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

/** Energy travels with this speed, m/s. */
function groupSpeed(periodS: number, depth: number): number {
  const k = waveNumber(periodS, depth);
  const kh = Math.min(20, k * depth);
  return ((2 * Math.PI) / periodS / k) * (0.5 + kh / Math.sinh(2 * kh));
}

/** JONSWAP's shape, gamma 3.3, not scaled. Source: Hasselmann et al. 1973. */
function jonswap(frequency: number, peak: number): number {
  const sigma = frequency <= peak ? 0.07 : 0.09;
  const bump = Math.exp(-((frequency / peak - 1) ** 2) / (2 * sigma * sigma));
  return frequency ** -5 * Math.exp(-1.25 * (peak / frequency) ** 4) * 3.3 ** bump;
}

/** Elevation and its quadrature at a place: envelope = hypot, phase = atan2(across, up); 0 on a crest. */
export interface Analytic {
  upM: number;
  acrossM: number;
}

/**
 * A sum of long-crested components of fixed period and direction that shoal and refract over a bottom whose depth
 * depends on the distance from the shore alone. Only the amplitudes follow the sea state, so that waves go on
 * moving naturally while the sea rises.
 */
export class WaveField {
  readonly #cosine = Float32Array.from({ length: TURN }, (_, i) => Math.cos((2 * Math.PI * i) / TURN));
  readonly #frequency = new Float64Array(COMPONENTS);
  readonly #bandwidth = new Float64Array(COMPONENTS);
  readonly #start = new Float64Array(COMPONENTS);
  readonly #along = new Float32Array(COMPONENTS);
  /** Phase from the shore outwards and shoaling factor, by component, then by grid point. */
  readonly #phase = new Float32Array(COMPONENTS * GRID_POINTS);
  readonly #shoaling = new Float32Array(COMPONENTS * GRID_POINTS);
  readonly #amplitude = new Float32Array(COMPONENTS);
  readonly #now = new Float32Array(COMPONENTS);

  constructor(seed: number) {
    const ratio = (LONGEST_S / SHORTEST_S) ** (1 / COMPONENTS);
    for (let i = 0; i < COMPONENTS; i += 1) {
      const periodS = LONGEST_S / ratio ** (i + 0.1 + 0.8 * unit(seed, 601, i));
      this.#frequency[i] = 1 / periodS;
      this.#bandwidth[i] = (ratio - 1) / periodS;
      this.#start[i] = unit(seed, 602, i);
      // Distant swell arrives nearly straight; the wind sea comes from all over.
      const spreadRad = 0.1 + 0.35 * (i / COMPONENTS) ** 1.2;
      const angle = 0.06 + spreadRad * (2 * unit(seed, 603, i) - 1) * 1.4;
      const deep = waveNumber(periodS, 60);
      const along = deep * Math.sin(angle);
      this.#along[i] = (along * TURN) / (2 * Math.PI);
      let phase = 0;
      const cg0 = groupSpeed(periodS, 60);
      for (let point = 0; point < GRID_POINTS; point += 1) {
        const depth = depthM(point * GRID_M);
        const k = waveNumber(periodS, depth);
        phase += Math.sqrt(Math.max(0.2 * k * k, k * k - along * along)) * GRID_M;
        this.#phase[i * GRID_POINTS + point] = (phase * TURN) / (2 * Math.PI);
        this.#shoaling[i * GRID_POINTS + point] = Math.min(1.6, Math.sqrt(cg0 / groupSpeed(periodS, depth)));
      }
    }
  }

  /** Sets the sea state and the moment for `sample`. */
  set(swells: readonly Swell[], motionS: number): void {
    this.#amplitude.fill(0);
    for (const { heightM, periodS } of swells) {
      const shape = this.#frequency.map((f, i) => jonswap(f, 1 / periodS) * (this.#bandwidth[i] ?? 0));
      const total = shape.reduce((sum, s) => sum + s, 0) || 1;
      // Variance of the train: (H / 4)^2.
      shape.forEach((s, i) => {
        this.#amplitude[i] = (this.#amplitude[i] ?? 0) + (2 * (heightM / 4) ** 2 * s) / total;
      });
    }
    for (let i = 0; i < COMPONENTS; i += 1) {
      this.#amplitude[i] = Math.sqrt(this.#amplitude[i] ?? 0);
      const turns = (this.#start[i] ?? 0) + motionS * (this.#frequency[i] ?? 0);
      this.#now[i] = (turns - Math.floor(turns)) * TURN;
    }
  }

  /** Not limited by breaking. `out` is reused by the caller: this runs some 100,000 times a picture. */
  sample(sM: number, cM: number, out: Analytic): void {
    const grid = Math.max(0, cM) / GRID_M;
    const point = Math.min(GRID_POINTS - 2, grid | 0);
    const part = grid - point;
    const cosine = this.#cosine;
    let up = 0;
    let across = 0;
    for (let i = 0, at = point; i < COMPONENTS; i += 1, at += GRID_POINTS) {
      const p0 = this.#phase[at] ?? 0;
      // Beyond the grid the last slope goes on: deep enough to be straight.
      const phase =
        (this.#now[i] ?? 0) + p0 + ((this.#phase[at + 1] ?? 0) - p0) * part - (this.#along[i] ?? 0) * sM;
      const index = phase | 0;
      const size = (this.#amplitude[i] ?? 0) * (this.#shoaling[at] ?? 0);
      up += size * (cosine[index & (TURN - 1)] ?? 0);
      across += size * (cosine[(index - QUARTER) & (TURN - 1)] ?? 0);
    }
    out.upM = up;
    out.acrossM = across;
  }
}

/** How far the thin water runs up the sand by place, metres: a line that breathes with the incoming waves. */
export class Swash {
  static readonly #stepM = 2;
  static readonly #fromM = -900;
  readonly #reach = new Float32Array(620);
  readonly largestM: number;

  constructor(field: WaveField, seed: number, heightM: number, periodS: number, motionS: number) {
    this.largestM = 0.8 + 1.15 * Math.sqrt(heightM * periodS * 0.8);
    const out: Analytic = { upM: 0, acrossM: 0 };
    for (let i = 0; i < this.#reach.length; i += 1) {
      const sM = Swash.#fromM + i * Swash.#stepM;
      field.sample(sM, 5, out);
      const wave = Math.max(-1, Math.min(1, out.upM / (0.3 * heightM + 0.05)));
      const tongue = wander(seed + 701, sM / 9 + motionS * 0.02) - 0.5;
      this.#reach[i] = this.largestM * (0.55 + 0.3 * wave + 0.3 * tongue);
    }
  }

  at(sM: number): number {
    const place = (sM - Swash.#fromM) / Swash.#stepM;
    const i = Math.max(0, Math.min(this.#reach.length - 2, Math.floor(place)));
    const a = this.#reach[i] ?? 0;
    return a + ((this.#reach[i + 1] ?? 0) - a) * Math.max(0, Math.min(1, place - i));
  }
}
