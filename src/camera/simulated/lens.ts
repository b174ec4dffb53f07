import type { Canvas } from './canvas.ts';
import type { Light } from './light.ts';
import { TILE, type Tile, WRAP, hash, mix, smoothstep, unit, wander } from './noise.ts';
import type { Scene } from './scene.ts';
import type { View } from './view.ts';

/** What lies between the scene and the file: fog, night, blinding sun, a wet or covered lens, the sensor's noise. */
export function spoil(canvas: Canvas, scene: Scene, view: View, light: Light, grain: Tile): void {
  const { conditions } = scene;
  if (conditions.fog01) fog(canvas, view, light, conditions.fog01);
  if (conditions.glare) glare(canvas, view, light);
  if (conditions.night) night(canvas, scene, view);
  if (conditions.rain01) drops(canvas, scene, conditions.rain01);
  if (conditions.obstructed01) obstruct(canvas, scene, conditions.obstructed01);
  noise(canvas, scene, grain);
}

/** Koschmieder's law: what is seen fades into the air's own light with distance. */
function fog(canvas: Canvas, view: View, light: Light, fog01: number): void {
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
    for (let i = y * widthPx * 3; i < (y + 1) * widthPx * 3; i += 3) {
      rgb[i] = mix(grey * 0.95, rgb[i] ?? 0, clear);
      rgb[i + 1] = mix(grey * 0.965, rgb[i + 1] ?? 0, clear);
      rgb[i + 2] = mix(grey * 0.975, rgb[i + 2] ?? 0, clear);
    }
  }
}

/** The sun in the picture: its bloom, and a veil over all. */
function glare(canvas: Canvas, view: View, light: Light): void {
  const { widthPx, heightPx, rgb } = canvas;
  const sunX = view.centreX + (light.sun.right / light.sun.forward) * view.focalPx;
  const sunY = view.horizonY - (light.sun.up / light.sun.forward) * view.focalPx;
  for (let y = 0; y < heightPx; y += 1) {
    // The bloom is drawn out downwards, where the water throws the light back.
    const dy = y - sunY;
    const narrow = 1 + 0.3 * smoothstep(0, 0.2 * heightPx, dy);
    for (let x = 0; x < widthPx; x += 1) {
      const far = Math.hypot((x - sunX) * narrow, dy * (dy > 0 ? 0.55 : 1)) / widthPx;
      const veil = 420 * Math.exp(-((far / 0.13) ** 2)) + 60 * Math.exp(-far / 0.3);
      const i = (y * widthPx + x) * 3;
      rgb[i] = (rgb[i] ?? 0) + veil;
      rgb[i + 1] = (rgb[i + 1] ?? 0) + veil * 0.95;
      rgb[i + 2] = (rgb[i + 2] ?? 0) + veil * 0.86;
    }
  }
}

function night(canvas: Canvas, scene: Scene, view: View): void {
  const { widthPx, heightPx, rgb } = canvas;
  for (let i = 0; i < rgb.length; i += 3) {
    const luma = 0.3 * (rgb[i] ?? 0) + 0.59 * (rgb[i + 1] ?? 0) + 0.11 * (rgb[i + 2] ?? 0);
    rgb[i] = luma * 0.035 + 2;
    rgb[i + 1] = luma * 0.045 + 3;
    rgb[i + 2] = luma * 0.075 + 6;
  }
  // Stars, and the lamps of a village with their trails on the water.
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
    lampAt(canvas, x, y, 120 + 130 * unit(scene.seed, 956, lamp), scene.motionS + lamp);
  }
}

function lampAt(canvas: Canvas, x: number, y: number, bright: number, flickerS: number): void {
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

/** Drops show the scene small and upside down, brighter below, dark at the rim. */
function drops(canvas: Canvas, scene: Scene, rain01: number): void {
  const { widthPx, heightPx, rgb } = canvas;
  const source = rgb.slice();
  const count = Math.round(120 * rain01);
  for (let drop = 0; drop < count; drop += 1) {
    const radius = widthPx * (0.008 + 0.05 * unit(scene.seed, 961, drop) ** 2.5) * (0.7 + 0.6 * rain01);
    const cx = unit(scene.seed, 962, drop) * widthPx;
    const cy = unit(scene.seed, 963, drop) * heightPx;
    const reach = Math.ceil(radius * 1.15);
    for (let y = Math.max(0, Math.floor(cy - reach)); y < Math.min(heightPx, cy + reach); y += 1) {
      for (let x = Math.max(0, Math.floor(cx - reach)); x < Math.min(widthPx, cx + reach); x += 1) {
        const dx = (x - cx) / radius;
        const dy = ((y - cy) / radius) * 0.88;
        const far = Math.hypot(dx, dy) + 0.08 * Math.sin(3 * Math.atan2(dy, dx) + drop);
        if (far > 1) continue;
        const bend = 2.6 * radius * far;
        const fromX = Math.min(widthPx - 1, Math.max(0, Math.round(cx - dx * bend)));
        const fromY = Math.min(heightPx - 1, Math.max(0, Math.round(cy - dy * bend * 1.6)));
        const from = (fromY * widthPx + fromX) * 3;
        const i = (y * widthPx + x) * 3;
        const alpha = 0.9 * smoothstep(1, 0.8, far);
        const tone = 1.02 + 0.16 * dy - 0.4 * smoothstep(0.7, 1, far);
        for (let channel = 0; channel < 3; channel += 1) {
          rgb[i + channel] = mix(rgb[i + channel] ?? 0, (source[from + channel] ?? 0) * tone, alpha);
        }
      }
    }
  }
}

/** Something dark and out of focus before the lens: a leaf, a spider's nest, a hand. */
function obstruct(canvas: Canvas, scene: Scene, share01: number): void {
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

/** Faint, new in every picture. */
function noise(canvas: Canvas, scene: Scene, grain: Tile): void {
  const { widthPx, heightPx, rgb } = canvas;
  const strength = (scene.conditions.night ? 5 : 3.6) / 255;
  const moment = Math.round(scene.motionS * 1000);
  for (let y = 0; y < heightPx; y += 1) {
    const row = (hash(scene.seed, moment, y) & WRAP) * TILE;
    const shift = hash(scene.seed + 1, moment, y) & WRAP;
    for (let x = 0, i = y * widthPx * 3; x < widthPx; x += 1, i += 3) {
      const value = ((grain[row | ((x + shift) & WRAP)] ?? 0) - 127.5) * strength;
      rgb[i] = (rgb[i] ?? 0) + value;
      rgb[i + 1] = (rgb[i + 1] ?? 0) + value;
      rgb[i + 2] = (rgb[i + 2] ?? 0) + value;
    }
  }
}
