import sharp from 'sharp';
import { beforeAll, describe, expect, it } from 'vitest';
import { drawSea, SeaPainter, type Picture } from '../../../../src/camera/simulated/draw-sea.ts';
import { encodeJpeg } from '../../../../src/camera/simulated/jpeg.ts';
import { sceneAt, stepAt, type Conditions } from '../../../../src/camera/simulated/scene.ts';
import { swellsAt, truthAt, truthOf } from '../../../../src/camera/simulated/sea-state.ts';

const SIZE = { widthPx: 512, heightPx: 288 };
/** The fair sea's parts of the picture: rows below the horizon of view 1. */
const HORIZON01 = 0.35;

const sea = (heightM: number): Conditions => ({
  swells: [
    { heightM: 0.93 * heightM, periodS: 12 },
    { heightM: 0.36 * heightM, periodS: 7 },
  ],
});

const painters = new Map<number, SeaPainter>();

/** As `drawSea`, but with one painter a seed: its textures take longer than a small picture. */
function draw(
  conditions: Conditions,
  at: { seed?: number; motionS?: number; seaTimeS?: number } = {},
): Picture {
  const { seed = 1, motionS = 50, seaTimeS = 40_000 } = at;
  const painter = painters.get(seed) ?? new SeaPainter(seed);
  painters.set(seed, painter);
  const picture = painter.paint(sceneAt({ seed, seaTimeS, motionS, ...SIZE, conditions }));
  return { ...picture, rgb: picture.rgb.slice() };
}

function luma({ rgb }: Picture): Float64Array {
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
const difference = (a: Picture, b: Picture): number => {
  const other = luma(b);
  return mean(luma(a).map((value, i) => Math.abs(value - other[i]!)));
};

function laplacianVariance(picture: Picture): number {
  const l = luma(picture);
  const { widthPx: w, heightPx: h } = picture;
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
function share(picture: Picture, holds: (r: number, g: number, b: number) => boolean, fromRow01 = 0): number {
  const { rgb, widthPx, heightPx } = picture;
  let count = 0;
  let all = 0;
  for (let i = Math.round(fromRow01 * heightPx) * widthPx * 3; i < rgb.length; i += 3, all += 1) {
    if (holds(rgb[i]!, rgb[i + 1]!, rgb[i + 2]!)) count += 1;
  }
  return count / all;
}

const white = (picture: Picture): number =>
  share(picture, (r, g, b) => Math.min(r, g, b) > 165 && b > r - 6, HORIZON01);
const blown = (picture: Picture): number => share(picture, (r, g, b) => Math.min(r, g, b) >= 250);

describe('the state of the simulated sea', () => {
  it('is a function of seed and time', () => {
    expect(truthAt(7, 12_345)).toEqual(truthAt(7, 12_345));
    expect(truthAt(7, 12_345)).not.toEqual(truthAt(8, 12_345));
  });

  it('stays between flat and 3.5 m, and visits small and big days', () => {
    for (const seed of [1, 2, 3, 40]) {
      const days = Array.from({ length: 400 }, (_, hour) => truthAt(seed, hour * 3600));
      const heights = days.map(({ heightM }) => heightM);
      expect(Math.min(...heights)).toBeGreaterThan(0.25);
      expect(Math.min(...heights)).toBeLessThan(0.7);
      expect(Math.max(...heights)).toBeGreaterThan(2.4);
      expect(Math.max(...heights)).toBeLessThan(3.6);
      for (const { periodS } of days) {
        expect(periodS).toBeGreaterThan(3.5);
        expect(periodS).toBeLessThan(16.5);
      }
    }
  });

  it('changes smoothly within minutes, and forgets itself within eight hours', () => {
    const correlation = (lagS: number): number => {
      const a = Array.from({ length: 600 }, (_, i) => truthAt(5, i * 4000).heightM);
      const b = Array.from({ length: 600 }, (_, i) => truthAt(5, i * 4000 + lagS).heightM);
      const [ma, mb] = [mean(a), mean(b)];
      const cov = mean(a.map((value, i) => (value - ma) * (b[i]! - mb)));
      return cov / Math.sqrt(mean(a.map((v) => (v - ma) ** 2)) * mean(b.map((v) => (v - mb) ** 2)));
    };
    expect(correlation(600)).toBeGreaterThan(0.95);
    expect(Math.abs(correlation(8 * 3600))).toBeLessThan(0.2);
  });

  it('adds the energies of its trains', () => {
    const trains = [
      { heightM: 3, periodS: 14 },
      { heightM: 4, periodS: 8 },
    ];
    expect(truthOf(trains).heightM).toBeCloseTo(5);
    expect(truthOf(trains).periodS).toBeLessThan(11);
    expect(truthOf([{ heightM: 1.2, periodS: 9 }])).toEqual({ heightM: 1.2, periodS: 9 });
    expect(swellsAt(1, 0)).toHaveLength(3);
  });
});

describe('the drawn sea', () => {
  let fair: Picture;
  beforeAll(() => {
    fair = draw({});
  });

  it('is equal to the byte for equal scenes', () => {
    const alone = drawSea(sceneAt({ seed: 1, seaTimeS: 40_000, motionS: 50, ...SIZE }));
    draw(sea(3), { motionS: 7 });
    expect(Buffer.from(alone.rgb).equals(fair.rgb)).toBe(true);
    expect(Buffer.from(draw({}).rgb).equals(fair.rgb)).toBe(true);
  });

  it('differs by seed, and by motion on the water alone', () => {
    expect(difference(draw({}, { seed: 2 }), fair)).toBeGreaterThan(4);
    const later = draw({}, { motionS: 51 });
    const land = (p: Picture) => p.rgb.subarray(0, Math.round(0.3 * SIZE.heightPx) * SIZE.widthPx * 3);
    const landMoved = mean(land(later).map((v, i) => Math.abs(v - land(fair)[i]!)));
    expect(landMoved).toBeLessThan(3);
    expect(difference(later, fair)).toBeGreaterThan(1.2 * landMoved);
  });

  it('has the light that a quality gate wants: sharp, not dark, hardly a blown pixel', () => {
    for (let hour = 0; hour < 48; hour += 18) {
      const picture = draw({}, { seaTimeS: hour * 3600 });
      expect(laplacianVariance(picture)).toBeGreaterThan(60);
      expect(blown(picture)).toBeLessThan(0.02);
      expect(mean(luma(picture))).toBeGreaterThan(90);
    }
  });

  it('grows whiter with the height of the waves', () => {
    const whiteness = [0.4, 1, 2, 3.2].map((heightM) =>
      mean([10, 40].map((motionS) => white(draw(sea(heightM), { motionS })))),
    );
    for (let i = 1; i < whiteness.length; i += 1)
      expect(whiteness[i]!).toBeGreaterThan(1.25 * whiteness[i - 1]!);
  });

  it('breaks farther out when the waves are higher', () => {
    /** Highest row of the right half, from the horizon, in which white water stands; 0..1 of the height. */
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

  it('shows night, fog, glare, rain and a covered lens', () => {
    expect(mean(luma(draw({ night: true })))).toBeLessThan(20);
    expect(laplacianVariance(draw({ fog01: 1 }))).toBeLessThan(0.2 * laplacianVariance(draw({ fog01: 0.4 })));
    expect(blown(draw({ glare: true }))).toBeGreaterThan(0.06);
    expect(difference(draw({ rain01: 0.8 }), fair)).toBeGreaterThan(difference(draw({ rain01: 0.1 }), fair));
    const covered = draw({ obstructed01: 0.4 });
    const dark = share(covered, (r, g, b) => Math.max(r, g, b) < 60);
    expect(dark).toBeGreaterThan(0.25);
    expect(dark).toBeLessThan(0.55);
  });

  it('shifts what stands still when the view is moved', () => {
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

  it('becomes a JPEG that a strict decoder takes', async () => {
    const bytes = encodeJpeg(fair);
    const { data, info } = await sharp(bytes, { failOn: 'warning' })
      .raw()
      .toBuffer({ resolveWithObject: true });
    expect([info.width, info.height, info.channels]).toEqual([512, 288, 3]);
    expect(mean(data.map((value, i) => Math.abs(value - fair.rgb[i]!)))).toBeLessThan(6);
  });
});

describe('a scenario', () => {
  const script = {
    steps: [
      { fromS: 5, conditions: { night: true } },
      { fromS: 9, conditions: { frozen: true } },
    ],
  };

  it('holds each step until the next', () => {
    expect(stepAt(undefined, 3)).toEqual({ fromS: 0, conditions: {} });
    expect(stepAt(script, 4.9)).toEqual({ fromS: 0, conditions: {} });
    expect(stepAt(script, 5).conditions).toEqual({ night: true });
    expect(stepAt(script, 900)).toEqual(script.steps[1]);
  });
});
