import { type Light, SKY_STEPS } from './light.ts';
import { mix, smoothstep, wander } from './noise.ts';
import type { Scene } from './scene.ts';
import { truthOf } from './sea-state.ts';
import type { View } from './view.ts';
import { type Analytic, Swash, type WaveField, depthM } from './wave-field.ts';

/** Waves break when higher than this share of the depth (McCowan 1894). */
const BREAKING = 0.78;
/** Columns of the mesh lie this far apart, pixels. */
export const COLUMN_PX = 4;

/** Depth of colour far from the sand, and where the sand shines through. */
const DEEP = [16, 62, 82] as const;
const SHALLOW = [74, 124, 122] as const;

/**
 * The surface of the water seen from the camera: rows by rising distance, columns across the picture. Each array
 * holds `rows * columns` values, row-major.
 */
export interface WaterMesh {
  readonly columns: number;
  /** Forward distance of each row, metres. */
  readonly distanceM: Float32Array;
  /** Picture row at which the point appears. */
  readonly y: Float32Array;
  readonly red: Float32Array;
  readonly green: Float32Array;
  readonly blue: Float32Array;
  /** Share of the place that old foam covers. */
  readonly foam: Float32Array;
  /** Share that a tumbling crest covers. */
  readonly roller: Float32Array;
  /** Metres from the moving edge of the water; negative on the sand. */
  readonly wetM: Float32Array;
  readonly swash: Swash;
}

/** Rows close together in the distance, where a pixel spans metres, and wide apart near the camera. */
function distances(scene: Scene, view: View): Float32Array {
  const list: number[] = [];
  for (let below = scene.heightPx - view.horizonY + 40; below > 1.2;) {
    list.push((view.cameraHeightM * view.focalPx) / below);
    below -= below > 160 ? 2 : below > 24 ? 1 : 0.6;
  }
  return Float32Array.from(list);
}

interface Facet {
  upM: number;
  roller: number;
  foam: number;
  glow: number;
}

/** One place of the surface from its unlimited wave: breaking, crest shape, foam. */
function surfAt(wave: Analytic, depth: number, unevenness: number, fury01: number, out: Facet): void {
  const envelope = Math.hypot(wave.upM, wave.acrossM);
  const phase = Math.atan2(wave.acrossM, wave.upM);
  const limit = BREAKING * depth * unevenness;
  const ratio = (2 * envelope) / limit;
  const broken = smoothstep(0.9, 1.2, ratio);
  const size = ratio > 1 ? (limit / 2) * (1 + 0.25 * Math.tanh(ratio - 1)) : envelope;
  const shallow = smoothstep(0.12, 0.75, (2 * size) / depth);
  const power = 1 + 2.6 * shallow;
  const leaned = phase + 0.75 * shallow * Math.sin(phase);
  const crest = (0.5 + 0.5 * Math.cos(leaned)) ** power;
  out.upM = 2 * size * (crest - 0.564 / Math.sqrt(power + 0.27));
  // Ahead of the crest the phase is negative: the front face, over which the crest tumbles.
  const front = smoothstep(-1.25, -0.55, phase) * (1 - smoothstep(0.1, 0.8, phase));
  out.roller = broken * front;
  const since = phase < 0 ? phase + 2 * Math.PI : phase;
  const trail = broken * Math.exp(-0.5 * since) * (phase < -1.2 || phase > 0 ? 1 : 0.4);
  out.foam = Math.min(0.97, Math.max(0.62 * trail, fury01 * (0.75 + 0.25 * Math.cos(phase - 1))));
  out.glow = shallow * crest * (1 - 0.6 * broken);
}

export function buildWaterMesh(scene: Scene, view: View, light: Light, field: WaveField): WaterMesh {
  const { heightM, periodS } = truthOf(scene.swells);
  field.set(scene.swells, scene.motionS);
  const swash = new Swash(field, scene.seed, heightM, periodS, scene.motionS);
  const distanceM = distances(scene, view);
  const columns = Math.ceil(scene.widthPx / COLUMN_PX) + 1;
  const make = (): Float32Array => new Float32Array(distanceM.length * columns);
  const mesh = {
    columns,
    distanceM,
    y: make(),
    red: make(),
    green: make(),
    blue: make(),
    foam: make(),
    roller: make(),
    wetM: make(),
    swash,
  };
  const upM = make();
  const glow = make();
  const wave: Analytic = { upM: 0, acrossM: 0 };
  const facet: Facet = { upM: 0, roller: 0, foam: 0, glow: 0 };
  const windM = scene.swells.at(-1)?.heightM ?? 0;

  for (let row = 0, at = 0; row < distanceM.length; row += 1) {
    const z = distanceM[row] ?? 1;
    // Where a row of pixels spans more than the waves do, they are texture, not shape.
    const fade = 1 - smoothstep(500, 1900, z);
    for (let column = 0; column < columns; column += 1, at += 1) {
      const aside = (column * COLUMN_PX - view.centreX) / view.focalPx;
      const s = z * (aside * view.cos - view.sin);
      const c = z * (view.cos + aside * view.sin) - view.setbackM;
      const wet = c + swash.at(s);
      mesh.wetM[at] = wet;
      if (wet > -2 && fade > 0) {
        const depth = depthM(c);
        field.sample(s, c, wave);
        const unevenness = 0.8 + 0.4 * wander(scene.seed + 801, s / 42 + c / 300);
        const mean = (heightM * 1.05) / (BREAKING * depth * unevenness);
        const fury = 0.5 * smoothstep(0.55, 1.35, mean) * smoothstep(0, 0.35, heightM);
        surfAt(wave, depth, unevenness, fury, facet);
        const thin = smoothstep(-1, 6, c);
        upM[at] = facet.upM * fade * thin;
        mesh.foam[at] = Math.max(facet.foam, c < 0 ? 0.35 : 0);
        mesh.roller[at] = facet.roller * thin;
        glow[at] = facet.glow;
        // White horses of the wind sea, out where nothing else breaks.
        if (windM > 0.55) {
          const crest = wave.upM / (heightM * 0.5);
          mesh.foam[at] = Math.max(
            mesh.foam[at] ?? 0,
            0.5 * (windM - 0.5) * smoothstep(0.5, 1.3, crest) * fade,
          );
        }
      }
      mesh.y[at] = view.horizonY + ((view.cameraHeightM - (upM[at] ?? 0)) * view.focalPx) / z;
    }
  }
  shade(mesh, view, light, upM, glow);
  return mesh;
}

/** Colour of each place from its slope: mirrored sky by Fresnel's law, else the body of the water. */
function shade(mesh: WaterMesh, view: View, light: Light, upM: Float32Array, glow: Float32Array): void {
  const { columns, distanceM } = mesh;
  for (let row = 0, at = 0; row < distanceM.length; row += 1) {
    const z = distanceM[row] ?? 1;
    const near = row > 0 ? -columns : 0;
    const far = row < distanceM.length - 1 ? columns : 0;
    const spanM = (distanceM[row + (far ? 1 : 0)] ?? z) - (distanceM[row + (near ? -1 : 0)] ?? z);
    const acrossM = (2 * COLUMN_PX * z) / view.focalPx;
    const haze = 1 - Math.exp(-z / 2600);
    for (let column = 0; column < columns; column += 1, at += 1) {
      const left = column > 0 ? -1 : 0;
      const right = column < columns - 1 ? 1 : 0;
      const aside = (column * COLUMN_PX - view.centreX) / view.focalPx;
      const slopeZ = clampSlope(((upM[at + far] ?? 0) - (upM[at + near] ?? 0)) / spanM);
      const slopeX = clampSlope(((upM[at + right] ?? 0) - (upM[at + left] ?? 0)) / acrossM);
      // Towards the camera: left of the point, up, back.
      const sightLength = Math.hypot(aside, view.cameraHeightM / z, 1);
      const sightUp = view.cameraHeightM / z / sightLength;
      const normal = 1 / Math.sqrt(1 + slopeX * slopeX + slopeZ * slopeZ);
      const facing = Math.max(0.02, (sightUp + (slopeX * aside + slopeZ) / sightLength) * normal);
      // Ripples turn many facets to the camera even at grazing sight: the rough sea mirrors less than a flat one.
      const fresnel = 0.02 + 0.98 * (1 - Math.min(1, facing * 0.8 + 0.13)) ** 5;
      const mirrorUp = Math.min(0.99, Math.max(0.06, 2 * facing * normal - sightUp + 0.12));
      const step = Math.floor(mirrorUp * (SKY_STEPS - 1)) * 3;
      const c = z * (view.cos + aside * view.sin) - view.setbackM;
      const clear = Math.exp(-depthM(c) / 1.6);
      const lit =
        0.9 + 0.5 * Math.max(-0.5, Math.min(0.6, -slopeX * light.sun.right - slopeZ * light.sun.forward));
      const sparkle = glitter(light, aside, sightUp, slopeX, slopeZ);
      const through = glow[at] ?? 0;
      mesh.red[at] = channel(0, clear, lit, through * 16);
      mesh.green[at] = channel(1, clear, lit, through * 52);
      mesh.blue[at] = channel(2, clear, lit, through * 40);

      function channel(i: 0 | 1 | 2, clear01: number, lit01: number, through255: number): number {
        const body = (mix(DEEP[i], SHALLOW[i], clear01) + through255) * lit01 * light.tint[i];
        const water = mix(body, light.sky[step + i] ?? 0, fresnel) + sparkle * (light.sunColour[i] / 255);
        return mix(water, light.haze[i], haze);
      }
    }
  }
}

const clampSlope = (slope: number): number => Math.max(-0.9, Math.min(0.9, slope));

/** Light of the sun's path, 0..400: the share of small facets that mirror the sun into the camera. */
function glitter(light: Light, aside: number, sightUp: number, slopeX: number, slopeZ: number): number {
  const length = Math.hypot(aside, 1);
  const right = light.sun.right - aside / length;
  const up = light.sun.up + sightUp;
  const forward = light.sun.forward - 1 / length;
  // Slope that a facet needs beyond the long waves' own, against the mean square slope of ripples.
  const missX = -right / up - slopeX;
  const missZ = -forward / up - slopeZ;
  return 400 * Math.exp(-(missX * missX + missZ * missZ) / 0.05);
}
