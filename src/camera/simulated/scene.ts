import { type Swell, swellsAt } from './sea-state.ts';
import { wander } from './noise.ts';

/** What stands between a good picture and this one; each 0..1 unless a unit stands in the name. */
export interface Conditions {
  readonly night?: boolean;
  /** The low sun ahead, its path on the water, blinding. */
  readonly glare?: boolean;
  readonly fog01?: number;
  /** Drops on the lens. */
  readonly rain01?: number;
  /** Share of the picture that something close to the lens hides. */
  readonly obstructed01?: number;
  /** The camera sends one and the same picture. */
  readonly frozen?: boolean;
  /** The camera was turned or zoomed: shift of the picture in pixels, magnification. */
  readonly move?: { readonly panPx: number; readonly tiltPx: number; readonly zoom: number };
  /** A sea of one's own instead of the wandering one. */
  readonly swells?: readonly Swell[];
}

/** Conditions by time; each step holds until the next one, in rising order. Before the first: fair. */
export interface Scenario {
  readonly steps: readonly {
    /** Seconds of clock since the camera's first picture. */
    readonly fromS: number;
    readonly conditions: Conditions;
  }[];
}

/** All that a picture depends on. Equal scenes give equal pixels. */
export interface Scene {
  readonly seed: number;
  readonly widthPx: number;
  readonly heightPx: number;
  readonly swells: readonly Swell[];
  /** Moves the waves, seconds. */
  readonly motionS: number;
  /** Moves sun and clouds, seconds. */
  readonly seaTimeS: number;
  readonly sunElevationDeg: number;
  /** Clockwise from the middle of the picture. */
  readonly sunBearingDeg: number;
  readonly conditions: Conditions;
}

export interface SceneOptions {
  readonly seed: number;
  readonly seaTimeS: number;
  /** Seconds; as `seaTimeS` when left out. */
  readonly motionS?: number;
  readonly widthPx?: number;
  readonly heightPx?: number;
  readonly conditions?: Conditions;
}

/** The scene at a moment: sea and light wander with the sea's time, the sun stays high and to the side. */
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

/** The step of a scenario that holds at `elapsedS`, with the time at which it began. */
export function stepAt(
  scenario: Scenario | undefined,
  elapsedS: number,
): { readonly fromS: number; readonly conditions: Conditions } {
  const step = scenario?.steps.findLast(({ fromS }) => fromS <= elapsedS);
  return step ?? { fromS: 0, conditions: {} };
}
