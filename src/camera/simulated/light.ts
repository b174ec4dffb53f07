import type { Rgb } from './canvas.ts';
import { mix, smoothstep } from './noise.ts';
import type { Scene } from './scene.ts';

/** Sun and colours of a scene. */
export interface Light {
  /** Unit vector to the sun, relative to the camera. */
  readonly sun: { readonly right: number; readonly up: number; readonly forward: number };
  readonly sunColour: Rgb;
  /** Colour of the light on matt surfaces: one factor for each of red, green and blue. */
  readonly tint: Rgb;
  /** Sky colour by the sine of the elevation: `SKY_STEPS` rows of RGB from the horizon to the zenith. */
  readonly sky: Float32Array;
  readonly haze: Rgb;
}

export const SKY_STEPS = 128;
/** Sine of the elevation below which haze makes the sky white. */
const HAZE_SINE = 0.3;

const mixRgb = (a: Rgb, b: Rgb, t: number): Rgb => [
  mix(a[0], b[0], t),
  mix(a[1], b[1], t),
  mix(a[2], b[2], t),
];

const DAY = {
  zenith: [58, 112, 176],
  middle: [122, 168, 212],
  low: [200, 218, 230],
} as const satisfies Record<string, Rgb>;
const EVENING = {
  zenith: [64, 92, 146],
  middle: [168, 166, 178],
  low: [244, 196, 140],
} as const satisfies Record<string, Rgb>;

export function computeLight(scene: Scene): Light {
  const elevation = (scene.sunElevationDeg * Math.PI) / 180;
  const bearing = (scene.sunBearingDeg * Math.PI) / 180;
  const day = smoothstep(2, 24, scene.sunElevationDeg);
  const zenith = mixRgb(EVENING.zenith, DAY.zenith, day);
  const middle = mixRgb(EVENING.middle, DAY.middle, day);
  const low = mixRgb(EVENING.low, DAY.low, day);
  const sky = new Float32Array(SKY_STEPS * 3);
  for (let step = 0; step < SKY_STEPS; step += 1) {
    const up = step / (SKY_STEPS - 1);
    const colour =
      up < HAZE_SINE
        ? mixRgb(low, middle, 1 - (1 - up / HAZE_SINE) ** 2)
        : mixRgb(middle, zenith, (up - HAZE_SINE) / (1 - HAZE_SINE));
    sky.set(colour, step * 3);
  }
  return {
    sun: {
      right: Math.cos(elevation) * Math.sin(bearing),
      up: Math.sin(elevation),
      forward: Math.cos(elevation) * Math.cos(bearing),
    },
    sunColour: mixRgb([255, 214, 150], [255, 248, 232], day),
    tint: mixRgb([1.0, 0.82, 0.64], [1.0, 0.985, 0.95], day),
    sky,
    haze: mixRgb(low, middle, 0.3),
  };
}
