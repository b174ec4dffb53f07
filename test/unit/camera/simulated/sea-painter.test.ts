import sharp from 'sharp';
import { beforeAll, describe, expect, it } from 'vitest';
import {
  drawSea,
  encodeJpeg,
  SeaPainter,
  type RawImage,
} from '../../../../src/camera/simulated/sea-painter.ts';
import { encodePng } from '../../../../src/camera/simulated/png.ts';
import { sceneAt, type Conditions } from '../../../../src/camera/simulated/scene.ts';

const SIZE = { widthPx: 512, heightPx: 288 };
/** Position of the horizon in the image of seed 1, as a share of the height. */
const HORIZON01 = 0.35;

const sea = (heightM: number): Conditions => ({
  swells: [
    { heightM: 0.93 * heightM, periodS: 12 },
    { heightM: 0.36 * heightM, periodS: 7 },
  ],
});

const painters = new Map<number, SeaPainter>();

/** Like `drawSea`, but with one painter per seed, because its textures take longer than a small image. */
function draw(
  conditions: Conditions,
  at: { seed?: number; motionS?: number; seaTimeS?: number } = {},
): RawImage {
  const { seed = 1, motionS = 50, seaTimeS = 40_000 } = at;
  const painter = painters.get(seed) ?? new SeaPainter(seed);
  painters.set(seed, painter);
  const image = painter.paint(sceneAt({ seed, seaTimeS, motionS, ...SIZE, conditions }));
  return { ...image, rgb: image.rgb.slice() };
}

function luma({ rgb }: RawImage): Float64Array {
  const values = new Float64Array(rgb.length / 3);
  for (let i = 0, at = 0; i < values.length; i += 1, at += 3)
    values[i] = 0.299 * rgb[at]! + 0.587 * rgb[at + 1]! + 0.114 * rgb[at + 2]!;
  return values;
}

function mean(values: ArrayLike<number>): number {
  let sum = 0;
  for (let i = 0; i < values.length; i += 1) sum += values[i]!;
  return sum / values.length;
}

/** Mean absolute difference of luma. */
const difference = (a: RawImage, b: RawImage): number => {
  const other = luma(b);
  return mean(luma(a).map((value, i) => Math.abs(value - other[i]!)));
};

function laplacianVariance(image: RawImage): number {
  const l = luma(image);
  const { widthPx: w, heightPx: h } = image;
  const values: number[] = [];
  for (let y = 1; y < h - 1; y += 1) {
    for (let x = 1; x < w - 1; x += 1) {
      const at = y * w + x;
      values.push(l[at - 1]! + l[at + 1]! + l[at - w]! + l[at + w]! - 4 * l[at]!);
    }
  }
  const average = mean(values);
  return mean(values.map((value) => (value - average) ** 2));
}

/** Share of pixels for which the test holds. */
function share(image: RawImage, holds: (r: number, g: number, b: number) => boolean, fromRow01 = 0): number {
  const { rgb, widthPx, heightPx } = image;
  let count = 0;
  let all = 0;
  for (let i = Math.round(fromRow01 * heightPx) * widthPx * 3; i < rgb.length; i += 3, all += 1) {
    if (holds(rgb[i]!, rgb[i + 1]!, rgb[i + 2]!)) count += 1;
  }
  return count / all;
}

const white = (image: RawImage): number =>
  share(image, (r, g, b) => Math.min(r, g, b) > 165 && b > r - 6, HORIZON01);
const overexposed = (image: RawImage): number => share(image, (r, g, b) => Math.min(r, g, b) >= 250);

describe('SeaPainter', () => {
  let fair: RawImage;
  beforeAll(() => {
    fair = draw({});
  });

  it('draws equal bytes for equal scenes', () => {
    const alone = drawSea(sceneAt({ seed: 1, seaTimeS: 40_000, motionS: 50, ...SIZE }));
    draw(sea(3), { motionS: 7 });
    expect(Buffer.from(alone.rgb).equals(fair.rgb)).toBe(true);
    expect(Buffer.from(draw({}).rgb).equals(fair.rgb)).toBe(true);
  });

  it('draws other images for other seeds, and moves only the water with time', () => {
    expect(difference(draw({}, { seed: 2 }), fair)).toBeGreaterThan(4);
    const later = draw({}, { motionS: 51 });
    const land = (p: RawImage) => p.rgb.subarray(0, Math.round(0.3 * SIZE.heightPx) * SIZE.widthPx * 3);
    const landMoved = mean(land(later).map((v, i) => Math.abs(v - land(fair)[i]!)));
    expect(landMoved).toBeLessThan(3);
    expect(difference(later, fair)).toBeGreaterThan(1.2 * landMoved);
  });

  it('draws sharp and bright images with few overexposed pixels', () => {
    for (let hour = 0; hour < 48; hour += 18) {
      const image = draw({}, { seaTimeS: hour * 3600 });
      expect(laplacianVariance(image)).toBeGreaterThan(60);
      expect(overexposed(image)).toBeLessThan(0.02);
      expect(mean(luma(image))).toBeGreaterThan(90);
    }
  });

  it('draws more white water for higher waves', () => {
    const whiteness = [0.4, 1, 2, 3.2].map((heightM) =>
      mean([10, 40].map((motionS) => white(draw(sea(heightM), { motionS })))),
    );
    for (let i = 1; i < whiteness.length; i += 1)
      expect(whiteness[i]!).toBeGreaterThan(1.25 * whiteness[i - 1]!);
    // What the image states covers the water alone, and the sand beside it is not white.
    const stated = [0.4, 1, 2, 3.2].map((heightM) => draw(sea(heightM)).white01);
    for (let i = 1; i < stated.length; i += 1) expect(stated[i]!).toBeGreaterThan(stated[i - 1]!);
    expect(stated[3]! / white(draw(sea(3.2)))).toBeGreaterThan(0.7);
    expect(stated[3]! / white(draw(sea(3.2)))).toBeLessThan(2);
  });

  it('draws higher waves that break farther out', () => {
    /** The first row below the horizon with white water in the right part of the image; 0..1 of the height. */
    const farthest = (heightM: number): number => {
      const { rgb, widthPx, heightPx } = draw(sea(heightM));
      for (let y = Math.round((HORIZON01 + 0.02) * heightPx); y < heightPx; y += 1) {
        let count = 0;
        for (let x = Math.round(0.62 * widthPx); x < widthPx; x += 1) {
          const i = (y * widthPx + x) * 3;
          if (Math.min(rgb[i]!, rgb[i + 1]!, rgb[i + 2]!) > 165) count += 1;
        }
        if (count > 12) return y / heightPx;
      }
      return 1;
    };
    expect(farthest(3)).toBeLessThan(farthest(0.5) - 0.1);
  });

  it('draws night, fog, glare, rain and a covered lens', () => {
    expect(mean(luma(draw({ night: true })))).toBeLessThan(20);
    expect(laplacianVariance(draw({ fog01: 1 }))).toBeLessThan(0.2 * laplacianVariance(draw({ fog01: 0.4 })));
    expect(overexposed(draw({ glare: true }))).toBeGreaterThan(0.06);
    expect(difference(draw({ rain01: 0.8 }), fair)).toBeGreaterThan(difference(draw({ rain01: 0.1 }), fair));
    const covered = draw({ obstructed01: 0.4 });
    const dark = share(covered, (r, g, b) => Math.max(r, g, b) < 60);
    expect(dark).toBeGreaterThan(0.25);
    expect(dark).toBeLessThan(0.55);
  });

  it('shifts the land when the view moves', () => {
    const moved = draw({ move: { panPx: 40, tiltPx: -12, zoom: 1 } });
    const { widthPx, heightPx } = SIZE;
    const [a, b] = [luma(fair), luma(moved)];
    const mismatch = (dx: number, dy: number): number => {
      let sum = 0;
      let n = 0;
      // The headland and the pier's shore end.
      for (let y = Math.round(0.2 * heightPx); y < 0.5 * heightPx; y += 1) {
        for (let x = 20; x < 0.3 * widthPx; x += 1) {
          sum += Math.abs(b[(y + dy) * widthPx + x + dx]! - a[y * widthPx + x]!);
          n += 1;
        }
      }
      return sum / n;
    };
    expect(mismatch(40, -12)).toBeLessThan(0.5 * mismatch(0, 0));
    const zoomed = draw({ move: { panPx: 0, tiltPx: 0, zoom: 1.3 } });
    expect(difference(zoomed, fair)).toBeGreaterThan(8);
  });

  it('draws more water at a higher tide, and the land where it was', () => {
    const sand = (tideM: number): number =>
      share(draw({ ...sea(0.3), tideM }), (r, _g, b) => r > b + 15, 0.5);
    expect(sand(1)).toBeLessThan(0.9 * sand(0));
    expect(sand(0)).toBeLessThan(0.9 * sand(-1));
    const sky = (image: RawImage) =>
      image.rgb.subarray(0, Math.round(0.3 * SIZE.heightPx) * SIZE.widthPx * 3);
    expect(Buffer.from(sky(draw({ tideM: 1 }))).equals(sky(draw({ tideM: -1 })))).toBe(true);
  });

  it('tilts, rolls and sways', () => {
    const pxPerDeg = (0.86 * SIZE.widthPx * Math.PI) / 180;
    /** Row of the largest step of brightness down the middle third of the image at `x01`. */
    const horizonY = (image: RawImage, x01: number): number => {
      const { widthPx, heightPx } = image;
      const rows = luma(image);
      const band = (y: number): number =>
        mean(rows.subarray(y * widthPx + x01 * widthPx, y * widthPx + x01 * widthPx + 20));
      const steps = Array.from({ length: Math.round(heightPx * 0.4) }, (_, y) => band(y + 20) - band(y + 23));
      return 20 + steps.indexOf(Math.max(...steps));
    };
    const level = horizonY(fair, 0.75);
    expect(Math.abs(level - horizonY(draw({ tiltDeg: 2 }), 0.75) - 2 * pxPerDeg)).toBeLessThan(3);
    const rolled = draw({ rollDeg: 4 });
    const slope = horizonY(rolled, 0.9375) - horizonY(rolled, 0.625);
    expect(Math.abs(slope - 0.3125 * SIZE.widthPx * Math.tan((4 * Math.PI) / 180))).toBeLessThan(4);
    const rows = Array.from({ length: 8 }, (_, i) =>
      horizonY(draw({ swayDeg: 0.5 }, { motionS: 50 + i }), 0.75),
    );
    expect(Math.max(...rows) - Math.min(...rows)).toBeGreaterThan(2);
  });

  it('encodes as a PNG without loss', async () => {
    const data = await sharp(encodePng(fair)).raw().toBuffer();
    expect(data.equals(fair.rgb)).toBe(true);
  });

  it('encodes as a JPEG that a strict decoder accepts', async () => {
    const bytes = encodeJpeg(fair);
    const { data, info } = await sharp(bytes, { failOn: 'warning' })
      .raw()
      .toBuffer({ resolveWithObject: true });
    expect([info.width, info.height, info.channels]).toEqual([512, 288, 3]);
    expect(mean(data.map((value, i) => Math.abs(value - fair.rgb[i]!)))).toBeLessThan(6);
  });
});
