import type { Canvas } from './canvas.ts';
import { type Light, SKY_STEPS } from './light.ts';
import { type Tile, TILE, WRAP, mix, smoothstep, wander } from './noise.ts';
import type { Scene } from './scene.ts';
import type { View } from './view.ts';

function smoothTexel(tile: Tile, x: number, y: number): number {
  const x0 = Math.floor(x);
  const y0 = Math.floor(y);
  const row0 = (y0 & WRAP) * TILE;
  const row1 = ((y0 + 1) & WRAP) * TILE;
  const left = x0 & WRAP;
  const right = (x0 + 1) & WRAP;
  const top = mix(tile[row0 + left] ?? 0, tile[row0 + right] ?? 0, x - x0);
  return mix(top, mix(tile[row1 + left] ?? 0, tile[row1 + right] ?? 0, x - x0), y - y0);
}

/** The sky is computed only for every second row and column: clouds are soft, so this resolution is enough. */
const STEP = 2;

/** Sky, sun and clouds. The clouds are on a plane above the camera. */
export function paintSky(canvas: Canvas, scene: Scene, view: View, light: Light, soft: Tile): void {
  const { widthPx, rgb } = canvas;
  const bottom = Math.min(canvas.heightPx, Math.ceil(view.horizonY) + 2);
  const hours = scene.seaTimeS / 3600;
  const cover01 = 0.3 + 0.3 * wander(scene.seed + 501, hours / 20);
  const driftM = scene.seaTimeS * 0.0008 + scene.motionS * 0.02;
  for (let y = 0; y < bottom; y += STEP) {
    const rise = Math.max(0.002, (view.horizonY - y) / view.focalPx);
    const fade = smoothstep(0.01, 0.14, rise);
    for (let x = 0; x < widthPx; x += STEP) {
      const aside = (x - view.centreX) / view.focalPx;
      const length = Math.sqrt(1 + aside * aside + rise * rise);
      const at = Math.min(SKY_STEPS - 1, Math.floor((rise / length) * SKY_STEPS)) * 3;
      const plane = 1 / (rise + 0.05);
      const heap =
        0.68 * smoothTexel(soft, aside * plane * 22 + driftM, plane * 20) +
        0.32 * smoothTexel(soft, aside * plane * 74 + driftM * 2.2, plane * 66 + 90);
      const cloud = smoothstep(1 - cover01, 1.12 - cover01 * 0.8, heap / 255) * fade * 0.86;
      const body = smoothstep(1.0 - cover01, 1.5 - cover01, heap / 255);
      // The sky varies along a row: brighter towards the sun, with thin clouds everywhere.
      const veil = 26 * (aside / length) * light.sun.right + ((heap - 128) * 12) / 255;
      const toSun = (aside * light.sun.right + rise * light.sun.up + light.sun.forward) / length;
      const halo =
        toSun > 0.8 ? 60 * smoothstep(0.93, 1, toSun) ** 3 + 700 * smoothstep(0.9992, 0.9998, toSun) : 0;
      for (let channel = 0; channel < 3; channel += 1) {
        const clear = light.sky[at + channel] ?? 0;
        const white = (238 - 46 * body) * (light.tint[channel] ?? 1);
        const value = mix(clear + veil, white, cloud) + (halo * (light.sunColour[channel] ?? 0)) / 255;
        for (let dy = 0; dy < STEP && y + dy < bottom; dy += 1) {
          for (let dx = 0; dx < STEP && x + dx < widthPx; dx += 1) {
            rgb[((y + dy) * widthPx + x + dx) * 3 + channel] = value;
          }
        }
      }
    }
  }
}
