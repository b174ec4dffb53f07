import { waveHeightM } from './breakers.ts';
import { smoothstep } from './noise.ts';
import { surfSpeed } from './wave-field.ts';

const GRAVITY = 9.81;
/**
 * Steepness of the front of a wave that begins to break: height of the crest divided by the length of the front, lowest and
 * highest of many breakers (Kjeldsen and Myrhaug 1979).
 */
const BREAKING_STEEPNESS = { min: 0.32, max: 0.78 } as const;
/**
 * Length of the roller of a broken wave, in wave heights: its cross-section is 0.9 H^2 (Svendsen 1984), and 0.11 of the square of
 * its length (Duncan 1981). It lies on the front, from the toe to the crest.
 */
const ROLLER_HEIGHTS = Math.sqrt(0.9 / 0.11);
/** The front gets half as steep as at first, relative to its end, within this share of a period (Schaeffer et al. 1993). */
const RELAXATION_PERIODS = 1 / 5;
/** Half-width in radians of cos(phase / 2)^(2 power), times the root of the power, where it is a tenth of its maximum. */
const TENTH = 2 * Math.sqrt(Math.LN10);
/** The bottom of a breaking wave slopes at least so much: where it is level, waves reach the limit slowly. */
const MIN_BOTTOM_SLOPE = 0.01;
/** Dense foam falls to 1/e in this time: 0.2 to 10 s in the field (Callaghan et al. 2012). */
const FOAM_DECAY_S = 5;

/** The surface at a point. */
export interface Facet {
  upM: number;
  /** Height between trough (0) and crest (1). */
  crest01: number;
  /** Share of the surface that tumbling water covers. */
  roller: number;
  /** Share that old foam covers. */
  foam: number;
  /** Light that shines through the crest. */
  glow: number;
}

export interface WavePoint {
  /** Envelope of the wave before breaking, metres, and its phase: 0 on the crest, negative on the front. */
  envelopeM: number;
  phase: number;
  /** The envelope when the last crest passed. */
  passedEnvelopeM: number;
  depthM: number;
  /** Height at which waves break here, metres. */
  limitM: number;
  /** Slope of the bottom. */
  bottomSlope: number;
  periodS: number;
  /** Steepness of its front when it begins to break, 0..1 of the range. */
  steepness01: number;
  whitecaps01: number;
}

/** Phase by which the last crest has passed a point, 0..2 pi. */
export const phaseSinceCrest = (phase: number): number => (phase < 0 ? phase + 2 * Math.PI : phase);

/**
 * The shape of a wave, its white water and its foam. In shallow water the crest is that of a cnoidal wave: as narrow as a
 * solitary wave of its height (Boussinesq 1871). Towards breaking its front becomes steep. A wave that breaks turns white at
 * the crest; from there the white water falls down the front.
 */
export function shapeWave(
  {
    envelopeM,
    phase,
    passedEnvelopeM,
    depthM,
    limitM,
    bottomSlope,
    periodS,
    steepness01,
    whitecaps01,
  }: WavePoint,
  out: Facet,
): void {
  const ratio = (2 * envelopeM) / limitM;
  const heightM = waveHeightM(envelopeM, limitM);
  const speed = surfSpeed(depthM);
  const radPerM = (2 * Math.PI) / (periodS * speed);
  const steepness = BREAKING_STEEPNESS.min + (BREAKING_STEEPNESS.max - BREAKING_STEEPNESS.min) * steepness01;
  // The limit of the height falls with the depth, so the ratio shows for how long the wave has been breaking.
  const perSecond = (Math.max(MIN_BOTTOM_SLOPE, bottomSlope) / depthM) * speed * ratio;
  // The crest, which is farther out, reached the limit later than the ratio of its front says.
  const aheadM = -phase / radPerM;
  const brokenS = Math.max(0, (ratio - 1) / perSecond - Math.max(0, aheadM) / speed);
  const fresh = Math.exp((-Math.LN2 * brokenS) / (RELAXATION_PERIODS * periodS));

  const ursell = heightM / (radPerM * radPerM * depthM * depthM * depthM);
  const cnoidalPower = 1 + 3 * ursell;
  const symmetricM = TENTH / (radPerM * Math.sqrt(cnoidalPower));
  const brokenM = heightM * (ROLLER_HEIGHTS + (1 / steepness - ROLLER_HEIGHTS) * fresh);
  const frontM = Math.min(symmetricM, symmetricM + (brokenM - symmetricM) * smoothstep(0.7, 1, ratio));
  const frontRoot = TENTH / (radPerM * frontM);
  const frontPower = frontRoot * frontRoot;
  // The back of a broken wave falls evenly to the next trough.
  const backPower = 1 + (cnoidalPower - 1) * fresh;

  const crest = Math.pow(0.5 + 0.5 * Math.cos(phase), phase < 0 ? frontPower : backPower);
  // The mean of each half of the wave is about 0.564 / sqrt(power + 0.27).
  out.upM = heightM * (crest - 0.282 / Math.sqrt(backPower + 0.27) - 0.282 / Math.sqrt(frontPower + 0.27));
  out.crest01 = crest;
  out.roller = 0;
  out.foam = whitecaps01 * (0.8 + 0.2 * Math.cos(phase - 1));
  const shallow = smoothstep(0.12, 0.75, heightM / depthM);
  if (brokenS > 0) {
    // Water that slides down the front without friction.
    const fallS = Math.sqrt((2 * heightM) / GRAVITY) * Math.sqrt(1 + 1 / (steepness * steepness));
    const covered = Math.min(1, brokenS / fallS);
    const reachM = covered * frontM;
    out.roller =
      smoothstep(0, 0.2, covered) *
      (1 - smoothstep(0.9 * reachM, 1.1 * reachM, aheadM)) *
      smoothstep(-0.3 * heightM, 0, aheadM);
  }
  const passedRatio = (2 * passedEnvelopeM) / limitM;
  if (passedRatio > 1) {
    // Foam stays where the crest has passed: first dense, then in streaks.
    const sincePhase = phaseSinceCrest(phase);
    const sinceS = (sincePhase / (2 * Math.PI)) * periodS;
    const trail = 0.42 * Math.exp(-0.55 * sincePhase) + 0.56 * Math.exp(-sinceS / FOAM_DECAY_S);
    out.foam = Math.min(0.98, Math.max(smoothstep(1, 1.03, passedRatio) * trail, out.foam));
  }
  out.glow = shallow * crest * (ratio < 1 ? 1 : 0.4);
}
