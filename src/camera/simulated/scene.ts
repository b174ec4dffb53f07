import { type Swell, swellsAt } from './sea-state.ts';
import { wander } from './noise.ts';

/** Faults of the image and changes of the scene. Numbers with `01` in the name are 0..1. */
export interface Conditions {
  readonly night?: boolean;
  /** Low sun in front of the camera, with its reflection on the water. */
  readonly glare?: boolean;
  readonly fog01?: number;
  /** Drops on the lens. */
  readonly rain01?: number;
  /** Share of the image that an object close to the lens covers. */
  readonly obstructed01?: number;
  /** The camera sends the same image again and again. */
  readonly frozen?: boolean;
  /** The camera was turned or zoomed: shift of the image in pixels, and magnification. */
  readonly move?: { readonly panPx: number; readonly tiltPx: number; readonly zoom: number };
  /** The camera looks this much lower, degrees. */
  readonly tiltDeg?: number;
  /** The horizon falls to the right by this angle, degrees. */
  readonly rollDeg?: number;
  /** Standard deviation of the movement of the camera in the wind, degrees, up and down and to the sides. */
  readonly swayDeg?: number;
  /** A fixed sea instead of the varying one. */
  readonly swells?: readonly Swell[];
  /** Level of the water above its mean, metres. */
  readonly tideM?: number;
  /** The images come in the reverse order of time. */
  readonly reversed?: boolean;
  /** Share of the images that never arrive. */
  readonly dropped01?: number;
}

/** Conditions by time, ascending. Each step lasts until the next one. Before the first step: fair weather. */
export interface Scenario {
  readonly steps: readonly {
    /** Seconds since the first image of the camera. */
    readonly fromS: number;
    readonly conditions: Conditions;
  }[];
}

/** All inputs of an image. Equal scenes give equal pixels. */
export interface Scene {
  readonly seed: number;
  readonly widthPx: number;
  readonly heightPx: number;
  readonly swells: readonly Swell[];
  /** Time for the motion of the waves, seconds. */
  readonly motionS: number;
  /** Time for sun, clouds and sea state, seconds. */
  readonly seaTimeS: number;
  readonly sunElevationDeg: number;
  /** Clockwise from the centre of the image. */
  readonly sunBearingDeg: number;
  readonly conditions: Conditions;
}

export interface SceneOptions {
  readonly seed: number;
  readonly seaTimeS: number;
  /** Seconds; default: `seaTimeS`. */
  readonly motionS?: number;
  readonly widthPx?: number;
  readonly heightPx?: number;
  readonly conditions?: Conditions;
}

/** The scene at a moment. Sea and light vary with `seaTimeS`; the sun stays high and to the side. */
export function sceneAt(options: SceneOptions): Scene {
  const { seed, seaTimeS, motionS = seaTimeS, widthPx = 1280, heightPx = 720, conditions = {} } = options;
  const hours = seaTimeS / 3600;
  const sun = conditions.glare
    ? { sunElevationDeg: 9, sunBearingDeg: 6 }
    : {
        sunElevationDeg: 38 + 18 * wander(seed + 301, hours / 26),
        sunBearingDeg: 105 + 40 * wander(seed + 302, hours / 30),
      };
  return {
    seed,
    widthPx,
    heightPx,
    swells: conditions.swells ?? swellsAt(seed, seaTimeS),
    motionS,
    seaTimeS,
    ...sun,
    conditions,
  };
}

/** The step of a scenario at `elapsedS`, with its start time. */
export function stepAt(
  scenario: Scenario | undefined,
  elapsedS: number,
): { readonly fromS: number; readonly conditions: Conditions } {
  const step = scenario?.steps.findLast(({ fromS }) => fromS <= elapsedS);
  return step ?? { fromS: 0, conditions: {} };
}
