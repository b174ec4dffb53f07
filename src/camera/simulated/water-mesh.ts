import { breakingLimitM } from './breakers.ts';
import { type Light, SKY_STEPS } from './light.ts';
import { mix, smoothstep, wander } from './noise.ts';
import type { Scene } from './scene.ts';
import { blendedPeriodS, type Swell, truthOf } from './sea-state.ts';
import type { View } from './view.ts';
import { type Analytic, Swash, type WaveField } from './wave-field.ts';
import { type Facet, phaseSinceCrest, shapeWave, type WavePoint } from './wave-shape.ts';

/** The upper beach rises by one metre over this distance. */
const BEACH_RUN_M = 12;
/** Where a wave is lower, in terms of the height at which it breaks, the one before was not higher than the limit. */
const MIN_RATIO_PASSED = 0.5;
/** Waves of a shorter period were made by the wind nearby, and have whitecaps. */
const WIND_SEA_S = 7;
/** The slope of the bottom is taken over this distance, metres. */
const SLOPE_SPAN_M = 6;
/** Breakers this far apart, along the shore or in time, have fronts of their own steepness. */
const STEEPNESS_RUN = { alongM: 40, s: 10 } as const;
/** Distance between mesh columns. */
export const COLUMN_PX = 5;

/** Water colours: deep water, and shallow water over sand. */
const DEEP = [16, 62, 82] as const;
const SHALLOW = [74, 124, 122] as const;

/**
 * The water surface in camera view: rows by increasing distance, columns across the image. Each array has
 * `rows * columns` values, row-major.
 */
export interface WaterMesh {
  readonly columns: number;
  /** Forward distance of each row, metres. */
  readonly distanceM: Float32Array;
  /** Image row of the point. */
  readonly y: Float32Array;
  readonly red: Float32Array;
  readonly green: Float32Array;
  readonly blue: Float32Array;
  /** Share of the surface that old foam covers. */
  readonly foam: Float32Array;
  /** Share of the surface that a breaking crest covers. */
  readonly roller: Float32Array;
  /** Distance from the moving edge of the water, metres; negative on the sand. */
  readonly wetM: Float32Array;
  readonly swash: Swash;
  /** Place of the still water line: the tide moves it from its mean place, 0, towards the land (negative) or the sea. */
  readonly shoreC: number;
}

const isWindSea = ({ periodS }: Swell): boolean => periodS < WIND_SEA_S;

/** Distances of the mesh rows from the camera. Far rows are close together in the image, where a pixel spans metres. */
function rowDistances(scene: Scene, view: View): Float32Array {
  const list: number[] = [];
  for (let below = scene.heightPx - view.horizonY + 40; below > 1.2;) {
    list.push((view.cameraHeightM * view.focalPx) / below);
    below -= below > 200 ? 3 : below > 100 ? 2 : below > 20 ? 1 : 0.6;
  }
  return Float32Array.from(list);
}

/** `onlyPx`: columns of the image that are drawn, ascending; default: all. */
export function buildWaterMesh(
  scene: Scene,
  view: View,
  light: Light,
  field: WaveField,
  onlyPx: readonly number[] | null = null,
): WaterMesh {
  const { heightM } = truthOf(scene.swells);
  const periodS = blendedPeriodS(scene.swells);
  field.set(scene.swells, scene.motionS);
  const { tideM = 0 } = scene.conditions;
  const shoreC = -BEACH_RUN_M * tideM;
  const swash = new Swash(field, scene.seed, heightM, periodS, scene.motionS);
  const distanceM = rowDistances(scene, view);
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
    shoreC,
  };
  const upM = make();
  const glow = make();
  const wave: Analytic = { upM: 0, acrossM: 0 };
  const facet: Facet = { upM: 0, crest01: 0, roller: 0, foam: 0, glow: 0 };
  // One object for all points: new ones would be 100,000 in each image.
  const point: WavePoint = {
    ...{ envelopeM: 0, phase: 0, passedEnvelopeM: 0, depthM: 0, limitM: 1, bottomSlope: 0 },
    ...{ periodS, steepness01: 0, whitecaps01: 0 },
  };
  const swashFoam = 0.35 * smoothstep(0, 0.3, heightM);
  const windM = Math.max(0, ...scene.swells.filter(isWindSea).map((swell) => swell.heightM));
  const isDrawn = drawnColumns(columns, onlyPx);

  for (let row = 0, at = 0; row < distanceM.length; row += 1) {
    const z = distanceM[row] ?? 1;
    // Far away a pixel row spans more than a wave: waves are texture there, not shape.
    const fade = 1 - smoothstep(500, 1900, z);
    for (let column = 0; column < columns; column += 1, at += 1) {
      if (isDrawn[column] === 0) continue;
      const aside = (column * COLUMN_PX - view.centreX) / view.focalPx;
      const s = z * (aside * view.cos - view.sin);
      const c = z * (view.cos + aside * view.sin) - view.setbackM - shoreC;
      const wet = c + swash.at(s);
      mesh.wetM[at] = wet;
      if (wet > -2 && fade > 0) {
        const depth = field.depthAt(c);
        field.sample(s, c, wave);
        const limit = breakingLimitM(scene.seed, depth, s, c);
        // Where most waves have broken, some foam never goes away.
        const whitecaps = 0.85 * smoothstep(0.9, 2.2, heightM / limit) * smoothstep(0, 2.8, heightM);
        const wavesUpM = wave.upM;
        point.envelopeM = Math.sqrt(wave.upM * wave.upM + wave.acrossM * wave.acrossM);
        point.phase = Math.atan2(wave.acrossM, wave.upM);
        point.passedEnvelopeM = point.envelopeM;
        if (2 * point.envelopeM > MIN_RATIO_PASSED * limit) {
          field.sample(s, c, wave, (phaseSinceCrest(point.phase) / (2 * Math.PI)) * periodS);
          point.passedEnvelopeM = Math.sqrt(wave.upM * wave.upM + wave.acrossM * wave.acrossM);
        }
        point.depthM = depth;
        point.limitM = limit;
        point.bottomSlope =
          (field.depthAt(c + SLOPE_SPAN_M / 2) - field.depthAt(c - SLOPE_SPAN_M / 2)) / SLOPE_SPAN_M;
        point.steepness01 = wander(
          scene.seed + 811,
          s / STEEPNESS_RUN.alongM + scene.motionS / STEEPNESS_RUN.s,
        );
        point.whitecaps01 = whitecaps;
        shapeWave(point, facet);
        const thin = smoothstep(-1, 6, c);
        upM[at] = facet.upM * fade * thin;
        mesh.foam[at] = Math.max(facet.foam, c < 0 ? swashFoam : 0);
        mesh.roller[at] = facet.roller * thin;
        glow[at] = facet.glow;
        // Wind waves have whitecaps outside the surf.
        if (windM > 0.55) {
          const crest = smoothstep(0.5, 1.3, wavesUpM / (heightM * 0.5)) * facet.crest01;
          mesh.foam[at] = Math.max(mesh.foam[at] ?? 0, 0.5 * (windM - 0.5) * crest * fade);
        }
      }
      mesh.y[at] = view.horizonY + ((view.cameraHeightM - tideM - (upM[at] ?? 0)) * view.focalPx) / z;
    }
  }
  shade(mesh, { view, light, field, upM, glow, isDrawn });
  return mesh;
}

/** 1 for the mesh columns that the columns of the image need: those around them, and their neighbours for the slope. */
function drawnColumns(columns: number, onlyPx: readonly number[] | null): Uint8Array {
  if (onlyPx === null) return new Uint8Array(columns).fill(1);
  const isDrawn = new Uint8Array(columns);
  for (const x of onlyPx) {
    const column = Math.floor(x / COLUMN_PX);
    isDrawn.fill(1, Math.max(0, column - 1), column + 3);
  }
  return isDrawn;
}

/** Sets the colour of each point from its slope: reflected sky (Fresnel's law) plus the colour of the water. */
function shade(
  mesh: WaterMesh,
  given: {
    readonly view: View;
    readonly light: Light;
    readonly field: WaveField;
    readonly upM: Float32Array;
    readonly glow: Float32Array;
    readonly isDrawn: Uint8Array;
  },
): void {
  const { view, light, field, upM, glow, isDrawn } = given;
  const { columns, distanceM } = mesh;
  const [tintR, tintG, tintB] = light.tint;
  const [hazeR, hazeG, hazeB] = light.haze;
  const [sunR, sunG, sunB] = light.sunColour;
  for (let row = 0, at = 0; row < distanceM.length; row += 1) {
    const z = distanceM[row] ?? 1;
    const near = row > 0 ? -columns : 0;
    const far = row < distanceM.length - 1 ? columns : 0;
    const spanM = (distanceM[row + (far ? 1 : 0)] ?? z) - (distanceM[row + (near ? -1 : 0)] ?? z);
    const acrossM = (2 * COLUMN_PX * z) / view.focalPx;
    const haze = 1 - Math.exp(-z / 2600);
    const rise = view.cameraHeightM / z;
    for (let column = 0; column < columns; column += 1, at += 1) {
      if (isDrawn[column] === 0 || (mesh.wetM[at] ?? 0) < -2) continue;
      const left = column > 0 ? -1 : 0;
      const right = column < columns - 1 ? 1 : 0;
      const aside = (column * COLUMN_PX - view.centreX) / view.focalPx;
      const slopeZ = clampSlope(((upM[at + far] ?? 0) - (upM[at + near] ?? 0)) / spanM);
      const slopeX = clampSlope(((upM[at + right] ?? 0) - (upM[at + left] ?? 0)) / acrossM);
      // Vector from the point to the camera.
      const sightLength = Math.sqrt(aside * aside + rise * rise + 1);
      const sightUp = rise / sightLength;
      const normal = 1 / Math.sqrt(1 + slopeX * slopeX + slopeZ * slopeZ);
      const facing = Math.max(0.02, (sightUp + (slopeX * aside + slopeZ) / sightLength) * normal);
      // Ripples turn some facets to the camera even at grazing angles, so a rough sea reflects less than a flat one.
      const away = 1 - Math.min(1, facing * 0.8 + 0.13);
      const fresnel = 0.02 + 0.98 * away * away * away * away * away;
      const reflectedUp = Math.min(0.99, Math.max(0.06, 2 * facing * normal - sightUp + 0.12));
      const step = Math.floor(reflectedUp * (SKY_STEPS - 1)) * 3;
      const c = z * (view.cos + aside * view.sin) - view.setbackM - mesh.shoreC;
      // Foam and suspended sand make the surf pale.
      const clear = Math.min(0.95, Math.exp(-field.depthAt(c) / 1.6) + 0.5 * (mesh.foam[at] ?? 0));
      const lit =
        0.9 + 0.5 * Math.max(-0.5, Math.min(0.6, -slopeX * light.sun.right - slopeZ * light.sun.forward));
      const sparkle = glitter(light, aside, sightUp, slopeX, slopeZ) / 255;
      const through = glow[at] ?? 0;
      const body = (1 - fresnel) * lit;
      const r =
        (mix(DEEP[0], SHALLOW[0], clear) + 16 * through) * tintR * body + (light.sky[step] ?? 0) * fresnel;
      const g =
        (mix(DEEP[1], SHALLOW[1], clear) + 52 * through) * tintG * body +
        (light.sky[step + 1] ?? 0) * fresnel;
      const b =
        (mix(DEEP[2], SHALLOW[2], clear) + 40 * through) * tintB * body +
        (light.sky[step + 2] ?? 0) * fresnel;
      mesh.red[at] = mix(r + sparkle * sunR, hazeR, haze);
      mesh.green[at] = mix(g + sparkle * sunG, hazeG, haze);
      mesh.blue[at] = mix(b + sparkle * sunB, hazeB, haze);
    }
  }
}

const clampSlope = (slope: number): number => Math.max(-0.9, Math.min(0.9, slope));

/** Sun glitter, 0..400: the share of small facets that reflect the sun into the camera. */
function glitter(light: Light, aside: number, sightUp: number, slopeX: number, slopeZ: number): number {
  const length = Math.sqrt(aside * aside + 1);
  const right = light.sun.right - aside / length;
  const up = light.sun.up + sightUp;
  const forward = light.sun.forward - 1 / length;
  // The slope that a facet needs in addition to the slope of the long waves, relative to the mean square slope of ripples.
  const missX = -right / up - slopeX;
  const missZ = -forward / up - slopeZ;
  const missed = missX * missX + missZ * missZ;
  return missed > 0.4 ? 0 : 400 * Math.exp(-missed / 0.05);
}
