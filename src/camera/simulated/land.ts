import { type Canvas, type Rgb, blend, stroke } from './canvas.ts';
import type { Light } from './light.ts';
import { TILE, type Tiles, WRAP, mix, smoothstep, unit, wander } from './noise.ts';
import type { Scene } from './scene.ts';
import { type View, project } from './view.ts';
import type { WaterMesh } from './water-mesh.ts';

const DRY: Rgb = [206, 186, 150];
const WET: Rgb = [126, 110, 90];
const GRASS: Rgb = [104, 112, 62];

const lit = (colour: Rgb, light: Light, factor = 1): Rgb => [
  colour[0] * light.tint[0] * factor,
  colour[1] * light.tint[1] * factor,
  colour[2] * light.tint[2] * factor,
];

/** The beach from the water up to the grass at the foot of the cliff: wet sand that reflects the sky, damp and dry sand. */
export function paintSand(
  canvas: Canvas,
  view: View,
  light: Light,
  tiles: Tiles,
  { swash, shoreC }: Pick<WaterMesh, 'swash' | 'shoreC'>,
): void {
  const { widthPx, heightPx, rgb } = canvas;
  const { soft, grain } = tiles;
  const dampM = swash.largestM * 1.15 + 1.2;
  for (let y = Math.max(0, Math.ceil(view.horizonY + 1)); y < heightPx; y += 1) {
    const z = (view.cameraHeightM * view.focalPx) / (y - view.horizonY);
    const texelM =
      0.05 * 2 ** Math.max(0, Math.round(Math.log2((14 * z * z) / (view.cameraHeightM * view.focalPx))));
    const fine = 1 / texelM;
    const haze = 1 - Math.exp(-z / 2600);
    for (let x = 0; x < widthPx; x += 1) {
      const aside = (x - view.centreX) / view.focalPx;
      const c = z * (view.cos + aside * view.sin) - view.setbackM;
      // Beyond the thin edge of the water no sand is visible.
      const fromWaterM = c - shoreC;
      if (fromWaterM > 8) break;
      const s = z * (aside * view.cos - view.sin);
      const patch = soft[(((c * 2.2) & WRAP) * TILE) | ((s * 0.8) & WRAP)] ?? 0;
      const speck = grain[(((c * fine) & WRAP) * TILE) | ((s * fine) & WRAP)] ?? 0;
      const step = soft[(((c * 9 + 40) & WRAP) * TILE) | ((s * 9) & WRAP)] ?? 0;
      const damp = smoothstep(-dampM - 2.4, -dampM + 0.6, fromWaterM + patch / 110 - 1.2);
      const mirror = smoothstep(-swash.largestM * 0.95, 0.2, fromWaterM) * 0.34;
      const prints = (1 - damp) * (step > 214 ? -16 : 0);
      const tone = (patch - 128) * 0.07 + (speck - 128) * (0.1 - 0.06 * damp) + prints;
      const grass = smoothstep(-view.setbackM * 0.62, -view.setbackM * 0.75, c + patch / 60);
      const i = (y * widthPx + x) * 3;
      for (let channel = 0; channel < 3; channel += 1) {
        const sand = mix(DRY[channel] ?? 0, WET[channel] ?? 0, damp);
        const ground = mix(sand, GRASS[channel] ?? 0, grass) + tone * (1 + grass);
        const reflected = mix(ground * (light.tint[channel] ?? 1), light.sky[30 + channel] ?? 0, mirror);
        rgb[i + channel] = mix(reflected, light.haze[channel] ?? 0, haze);
      }
    }
  }
}

/** A distant headland with a lighthouse at the end of the bay. */
export function paintHeadland(canvas: Canvas, scene: Scene, view: View, light: Light, tiles: Tiles): void {
  const baseY = view.horizonY + 0.0055 * view.focalPx;
  const endAside = -0.16 + 0.06 * unit(scene.seed, 901);
  const right = Math.min(canvas.widthPx, Math.ceil(view.centreX + endAside * view.focalPx));
  for (let x = 0; x < right; x += 1) {
    const aside = (x - view.centreX) / view.focalPx;
    const inland = endAside - aside;
    const ridge = wander(scene.seed + 902, aside * 9) * 0.55 + wander(scene.seed + 903, aside * 31) * 0.18;
    const rise = (0.006 + 0.062 * smoothstep(0, 0.34, inland) * (0.55 + ridge)) * smoothstep(0, 0.03, inland);
    const crestY = baseY - rise * view.focalPx;
    for (let y = Math.max(0, Math.floor(crestY)); y < Math.min(canvas.heightPx, baseY); y += 1) {
      const down = (y - crestY) / Math.max(1, baseY - crestY);
      const wood = tiles.soft[(((y * 9) & WRAP) * TILE) | ((x * 4 + y * 2) & WRAP)] ?? 0;
      const rock = smoothstep(0.55, 0.9, down + wood / 900 - 0.15);
      const tone = 0.8 + 0.4 * (wood / 255);
      const colour: Rgb = [
        mix(mix(64, 118, rock) * tone * light.tint[0], light.haze[0], 0.42),
        mix(mix(88, 108, rock) * tone * light.tint[1], light.haze[1], 0.42),
        mix(mix(62, 96, rock) * tone * light.tint[2], light.haze[2], 0.42),
      ];
      blend(canvas, x, y, colour, Math.min(1, y - crestY + 1));
    }
  }
  const foot = { x: view.centreX + (endAside - 0.07) * view.focalPx, y: baseY - 0.016 * view.focalPx };
  const px = view.focalPx / 1108;
  const top = { x: foot.x, y: foot.y - 26 * px };
  stroke(canvas, foot, top, 5 * px, lit([226, 222, 214], light, 0.95));
  stroke(
    canvas,
    { x: foot.x, y: foot.y - 11 * px },
    { x: foot.x, y: foot.y - 7 * px },
    5 * px,
    lit([176, 70, 58], light),
  );
  stroke(canvas, top, { x: top.x, y: top.y - 3 * px }, 4 * px, lit([70, 60, 60], light));
}

const TIMBER: Rgb = [92, 76, 62];

/** A timber pier across the surf. */
export function paintPier(canvas: Canvas, scene: Scene, view: View, light: Light): void {
  const sM = -128 - 26 * unit(scene.seed, 911);
  const deckM = 6;
  const point = (c: number, up: number, aside = 0) => project(view, sM + aside, c, up);
  const beam = (
    c0: number,
    up0: number,
    c1: number,
    up1: number,
    thickM: number,
    tone: number,
    aside = 0,
  ): void => {
    const a = point(c0, up0, aside);
    const b = point(c1, up1, aside);
    if (a && b) stroke(canvas, a, b, Math.max(0.7, thickM * a.pxPerM), lit(TIMBER, light, tone));
  };
  for (let c = -18; c <= 116; c += 9) {
    beam(c, deckM, c, -0.3, 0.5, 0.62, -1.8);
    beam(c, deckM, c, -0.3, 0.55, 0.85, 1.8);
    beam(c, 2.6, c + 9, deckM - 0.5, 0.22, 0.7, 1.8);
  }
  for (let c = -26; c < 118; c += 8) {
    beam(c, deckM, c + 8, deckM, 0.9, 1.0, 1.8);
    beam(c, deckM + 1.1, c + 8, deckM + 1.1, 0.16, 1.25, 1.8);
    beam(c, deckM, c, deckM + 1.1, 0.16, 1.2, 1.8);
  }
  // A hut at the end, drawn as a row of vertical boards.
  for (let c = 104; c <= 115; c += 0.25) {
    const peak = deckM + 4.4 - 0.28 * Math.abs(c - 109.5);
    beam(c, deckM, c, deckM + 3, 0.45, 1.75 + 0.15 * (Math.round(c * 2) % 2), 1.2);
    beam(c, deckM + 3, c, peak, 0.45, 0.55, 1.2);
  }
}

/** Grass on the edge of the cliff and a handrail, close to the camera at the lower left. */
export function paintForeground(canvas: Canvas, scene: Scene, view: View, light: Light): void {
  const px = view.focalPx / 1108;
  const left = view.centreX - 0.58 * view.focalPx;
  const bottom = view.horizonY + 0.42 * view.focalPx;
  const edge = (x: number): number =>
    bottom - (58 - 0.0012 * (x - 60) ** 2 + 8 * wander(scene.seed + 921, x / 30)) * px;
  const post = (x: number, y: number): void => {
    stroke(
      canvas,
      { x: left + x * px, y: bottom - y * px + 64 * px },
      { x: left + x * px, y: bottom - y * px },
      7 * px,
      lit([122, 94, 64], light),
    );
    stroke(
      canvas,
      { x: left + (x + 2.4) * px, y: bottom - y * px + 64 * px },
      { x: left + (x + 2.4) * px, y: bottom - y * px },
      2.4 * px,
      lit([160, 126, 88], light),
    );
  };
  const rail = (drop: number, widthPx: number, tone: number): void =>
    stroke(
      canvas,
      { x: left - 10 * px, y: bottom - (168 - drop) * px },
      { x: left + 236 * px, y: bottom - (58 - drop) * px },
      widthPx * px,
      lit([158, 122, 82], light, tone),
    );
  for (const [x, y] of [
    [30, 152],
    [96, 122],
    [162, 92],
    [228, 62],
  ] as const) {
    post(x, y);
  }
  rail(26, 5, 0.8);
  rail(0, 7, 1.1);
  for (let blade = 0; blade < 420; blade += 1) {
    const x = 300 * unit(scene.seed, 931, blade) ** 1.3 - 20;
    const root = edge(x) + 50 * unit(scene.seed, 932, blade) * px;
    const high = (22 + 34 * unit(scene.seed, 933, blade)) * px;
    const lean = (unit(scene.seed, 934, blade) - 0.35) * 26 * px;
    const tone = 0.55 + 0.6 * unit(scene.seed, 935, blade);
    const colour = lit(unit(scene.seed, 936, blade) < 0.4 ? [150, 138, 84] : [92, 104, 56], light, tone);
    const at = left + x * px;
    stroke(
      canvas,
      { x: at, y: root + 20 * px },
      { x: at + lean * 0.3, y: root - high * 0.5 },
      2.6 * px,
      colour,
    );
    stroke(
      canvas,
      { x: at + lean * 0.3, y: root - high * 0.5 },
      { x: at + lean, y: root - high },
      1.5 * px,
      colour,
    );
  }
}
