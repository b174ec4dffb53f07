import type { Canvas } from './canvas.ts';
import type { Light } from './light.ts';
import { TILE, type Tile, WRAP, hash, mix, smoothstep, unit, wander } from './noise.ts';
import type { Scene } from './scene.ts';
import type { View } from './view.ts';

/** Applies fog, night, glare, drops on the lens, a covered lens, exposure and sensor noise to the drawn scene. */
export function applyLensEffects(canvas: Canvas, scene: Scene, view: View, light: Light, grain: Tile): void {
  const { conditions } = scene;
  if (conditions.fog01) applyFog(canvas, view, light, conditions.fog01);
  if (conditions.glare) applyGlare(canvas, view, light);
  if (conditions.night) applyNight(canvas, scene, view);
  if (conditions.rain01) drawDrops(canvas, scene, conditions.rain01);
  if (conditions.obstructed01) coverLens(canvas, scene, conditions.obstructed01);
  applyExposure(canvas, scene, grain);
}

/** Koschmieder's law: objects fade into the light of the air with distance. */
function applyFog(canvas: Canvas, view: View, light: Light, fog01: number): void {
  const { widthPx, heightPx, rgb } = canvas;
  const rangeM = 2000 * 0.006 ** fog01;
  const grey = (light.haze[0] + light.haze[1] + light.haze[2]) / 3;
  for (let y = 0; y < heightPx; y += 1) {
    const below = y - view.horizonY;
    const z = below > 0 ? (view.cameraHeightM * view.focalPx) / below : Infinity;
    const clear = Math.max(
      Math.exp(-z / rangeM),
      below < 0 ? (1 - fog01) ** 2 * smoothstep(0, 200, -below) : 0,
    );
    for (let x = 0, i = y * widthPx * 3; x < widthPx; x += 1, i += 3) {
      // The air is brighter on the side of the sun.
      const air = grey * (0.96 + (0.06 * (x - widthPx / 2) * light.sun.right) / widthPx);
      rgb[i] = mix(air * 0.985, rgb[i] ?? 0, clear);
      rgb[i + 1] = mix(air, rgb[i + 1] ?? 0, clear);
      rgb[i + 2] = mix(air * 1.01, rgb[i + 2] ?? 0, clear);
    }
  }
}

/** Adds the light of the sun: a bright area around the sun (bloom), and a bright veil over the whole image. */
function applyGlare(canvas: Canvas, view: View, light: Light): void {
  const { widthPx, heightPx, rgb } = canvas;
  const sunX = view.centreX + (light.sun.right / light.sun.forward) * view.focalPx;
  const sunY = view.horizonY - (light.sun.up / light.sun.forward) * view.focalPx;
  for (let y = 0; y < heightPx; y += 1) {
    // The bloom extends downwards, where the water reflects the sun.
    const dy = y - sunY;
    const narrow = 1 + 0.3 * smoothstep(0, 0.2 * heightPx, dy);
    for (let x = 0; x < widthPx; x += 1) {
      const distance = Math.hypot((x - sunX) * narrow, dy * (dy > 0 ? 0.55 : 1)) / widthPx;
      const veil = 420 * Math.exp(-((distance / 0.13) ** 2)) + 60 * Math.exp(-distance / 0.3);
      const i = (y * widthPx + x) * 3;
      rgb[i] = (rgb[i] ?? 0) + veil;
      rgb[i + 1] = (rgb[i + 1] ?? 0) + veil * 0.95;
      rgb[i + 2] = (rgb[i + 2] ?? 0) + veil * 0.86;
    }
  }
}

function applyNight(canvas: Canvas, scene: Scene, view: View): void {
  const { widthPx, heightPx, rgb } = canvas;
  const villageX = view.centreX - 0.4 * view.focalPx;
  for (let y = 0, i = 0; y < heightPx; y += 1) {
    const glowY = 15 * Math.exp(-Math.abs(y - view.horizonY) / (0.14 * heightPx));
    for (let x = 0; x < widthPx; x += 1, i += 3) {
      const luma = 0.3 * (rgb[i] ?? 0) + 0.59 * (rgb[i + 1] ?? 0) + 0.11 * (rgb[i + 2] ?? 0);
      const glow = glowY * Math.exp(-Math.abs(x - villageX) / (0.22 * widthPx));
      const moon = (9 * x) / widthPx;
      rgb[i] = luma * 0.06 + 0.7 * moon + glow;
      rgb[i + 1] = luma * 0.075 + 0.85 * moon + 0.8 * glow;
      rgb[i + 2] = luma * 0.11 + 3 + moon + 0.6 * glow;
    }
  }
  // Stars, and the lamps of a village with their reflections on the water.
  for (let star = 0; star < 90; star += 1) {
    const x = Math.floor(unit(scene.seed, 951, star) * widthPx);
    const y = Math.floor(unit(scene.seed, 952, star) * view.horizonY * 0.9);
    if (y < 0 || y >= heightPx) continue;
    const i = (y * widthPx + x) * 3;
    const bright = 20 + 90 * unit(scene.seed, 953, star) ** 3;
    for (let channel = 0; channel < 3; channel += 1) rgb[i + channel] = (rgb[i + channel] ?? 0) + bright;
  }
  for (let lamp = 0; lamp < 14; lamp += 1) {
    const x = view.centreX - (0.26 + 0.3 * unit(scene.seed, 954, lamp)) * view.focalPx;
    const y = view.horizonY - 0.012 * unit(scene.seed, 955, lamp) * view.focalPx;
    drawLamp(canvas, x, y, 120 + 130 * unit(scene.seed, 956, lamp), scene.motionS + lamp);
  }
}

function drawLamp(canvas: Canvas, x: number, y: number, bright: number, flickerS: number): void {
  const { widthPx, heightPx, rgb } = canvas;
  for (let dy = -4; dy < 60; dy += 1) {
    for (let dx = -4; dx <= 4; dx += 1) {
      const px = Math.round(x) + dx;
      const py = Math.round(y) + dy;
      if (px < 0 || py < 0 || px >= widthPx || py >= heightPx) continue;
      const trail = 0.14 * Math.exp(-dy / 22) * (wander(77, py * 0.7 + flickerS * 3) > 0.4 ? 1 : 0.3);
      const glow = bright * (dy <= 4 ? Math.exp(-(dx * dx + dy * dy) / 3) : trail * Math.exp(-(dx * dx) / 2));
      const i = (py * widthPx + px) * 3;
      rgb[i] = (rgb[i] ?? 0) + glow;
      rgb[i + 1] = (rgb[i + 1] ?? 0) + glow * 0.8;
      rgb[i + 2] = (rgb[i + 2] ?? 0) + glow * 0.5;
    }
  }
}

/** Block size of the blurred image that drops show. */
const BLUR_PX = 28;

/** Block means of the image, row-major RGB. */
function blur(canvas: Canvas): {
  readonly columns: number;
  readonly rows: number;
  readonly rgb: Float32Array;
} {
  const { widthPx, heightPx, rgb } = canvas;
  const columns = Math.ceil(widthPx / BLUR_PX);
  const rows = Math.ceil(heightPx / BLUR_PX);
  const sum = new Float32Array(columns * rows * 3);
  const count = new Float32Array(columns * rows);
  for (let y = 0, i = 0; y < heightPx; y += 1) {
    const row = Math.floor(y / BLUR_PX) * columns;
    for (let x = 0; x < widthPx; x += 1, i += 3) {
      const block = row + Math.floor(x / BLUR_PX);
      count[block] = (count[block] ?? 0) + 1;
      for (let channel = 0; channel < 3; channel += 1) {
        const at = block * 3 + channel;
        sum[at] = (sum[at] ?? 0) + (rgb[i + channel] ?? 0);
      }
    }
  }
  return { columns, rows, rgb: sum.map((value, at) => value / (count[Math.floor(at / 3)] ?? 1)) };
}

/** Drops on the lens are out of focus: each shows the scene upside down, blurred, and dark at its upper rim. */
function drawDrops(canvas: Canvas, scene: Scene, rain01: number): void {
  const { widthPx, heightPx, rgb } = canvas;
  const { columns, rows, rgb: source } = blur(canvas);
  const count = Math.round(200 * rain01);
  for (let drop = 0; drop < count; drop += 1) {
    const radius = widthPx * (0.012 + 0.065 * unit(scene.seed, 961, drop) ** 2) * (0.7 + 0.5 * rain01);
    const cx = unit(scene.seed, 962, drop) * widthPx;
    const cy = unit(scene.seed, 963, drop) * heightPx;
    const reach = Math.ceil(radius * 1.15);
    for (let y = Math.max(0, Math.floor(cy - reach)); y < Math.min(heightPx, cy + reach); y += 1) {
      for (let x = Math.max(0, Math.floor(cx - reach)); x < Math.min(widthPx, cx + reach); x += 1) {
        const dx = (x - cx) / radius;
        const dy = ((y - cy) / radius) * 0.9;
        const far = Math.hypot(dx, dy) + 0.07 * Math.sin(3 * Math.atan2(dy, dx) + drop);
        if (far > 1) continue;
        // The drop mirrors the scene at its centre. At its rim it shows a point half an image away.
        const fromX = Math.min(columns - 1.01, Math.max(0, (cx - dx * radius * 1.6) / BLUR_PX - 0.5));
        const fromY = Math.min(rows - 1.01, Math.max(0, (cy - dy * radius * 2.2) / BLUR_PX - 0.5));
        const left = Math.floor(fromX);
        const top = Math.floor(fromY);
        const alpha = 0.94 * smoothstep(1, 0.72, far);
        const tone = 1 + 0.1 * dy - 0.28 * smoothstep(0.5, 1, far) * (0.6 - 0.4 * dy);
        const i = (y * widthPx + x) * 3;
        for (let channel = 0; channel < 3; channel += 1) {
          const at = (column: number, row: number): number =>
            source[(row * columns + column) * 3 + channel] ?? 0;
          const above = mix(at(left, top), at(left + 1, top), fromX - left);
          const below = mix(at(left, top + 1), at(left + 1, top + 1), fromX - left);
          rgb[i + channel] = mix(rgb[i + channel] ?? 0, mix(above, below, fromY - top) * tone, alpha);
        }
      }
    }
  }
}

/** A dark, unfocused object in front of the lens, such as a leaf, a spider's nest or a hand. */
function coverLens(canvas: Canvas, scene: Scene, share01: number): void {
  const { widthPx, heightPx, rgb } = canvas;
  const radius = Math.sqrt((share01 * widthPx * heightPx) / Math.PI) * 1.12;
  const cx = widthPx * (0.35 + 0.3 * unit(scene.seed, 971));
  const cy = heightPx * (0.5 + 0.15 * unit(scene.seed, 972));
  for (let y = 0; y < heightPx; y += 1) {
    for (let x = 0; x < widthPx; x += 1) {
      const dx = x - cx;
      const dy = y - cy;
      const lobe = 1 + 0.12 * Math.sin(2 * Math.atan2(dy, dx) + 1) + 0.06 * Math.sin(5 * Math.atan2(dy, dx));
      const alpha = 0.98 * smoothstep(1.12, 0.9, Math.hypot(dx, dy) / (radius * lobe));
      if (alpha <= 0) continue;
      const i = (y * widthPx + x) * 3;
      const tone = 26 + (18 * (x - cx + radius)) / (2 * radius);
      rgb[i] = mix(rgb[i] ?? 0, tone * 1.1, alpha);
      rgb[i + 1] = mix(rgb[i + 1] ?? 0, tone, alpha);
      rgb[i + 2] = mix(rgb[i + 2] ?? 0, tone * 0.8, alpha);
    }
  }
}

/**
 * Applies the exposure of the camera, which varies like the light under thin clouds. Without this variation, the view
 * check would take constant pixels for a caption in the image. Adds faint noise, different in every image.
 */
function applyExposure(canvas: Canvas, scene: Scene, grain: Tile): void {
  const { widthPx, heightPx, rgb } = canvas;
  const strength = (scene.conditions.night ? 5 : 3.6) / 255;
  // Glare is too bright for the sensor at any exposure, so it stays at full brightness.
  const gain = scene.conditions.glare
    ? 1
    : mix(0.8, 1.04, wander(scene.seed + 981, scene.seaTimeS / (5 * 3600)));
  const moment = Math.round(scene.motionS * 1000);
  for (let y = 0; y < heightPx; y += 1) {
    const row = (hash(scene.seed, moment, y) & WRAP) * TILE;
    const shift = hash(scene.seed + 1, moment, y) & WRAP;
    for (let x = 0, i = y * widthPx * 3; x < widthPx; x += 1, i += 3) {
      const value = ((grain[row | ((x + shift) & WRAP)] ?? 0) - 127.5) * strength;
      rgb[i] = (rgb[i] ?? 0) * gain + value;
      rgb[i + 1] = (rgb[i + 1] ?? 0) * gain + value;
      rgb[i + 2] = (rgb[i + 2] ?? 0) * gain + value;
    }
  }
}
