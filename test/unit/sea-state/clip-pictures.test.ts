import { describe, expect, it } from 'vitest';
import { seededRandom } from '../../../src/base/random.ts';
import { ClipPictures, summariseFindings } from '../../../src/sea-state/clip-pictures.ts';
import type { Shift } from '../../../src/sea-state/layout.ts';
import { MASK_GREY, type GreyPicture } from '../../../src/vision/protocol.ts';

const WIDTH = 320;
const HEIGHT = 180;
const PICTURES = 80;

interface Scene {
  /** Where the content lies, pixels. */
  readonly shift?: (index: number) => Shift;
  /** First row of moving water; everything above is land. */
  readonly waterFrom?: number;
  /** Changes a grey level, at a place. */
  readonly grey?: (level: number, x: number, y: number) => number;
}

const STILL: Shift = { x: 0, y: 0 };

/** Land with houses over water with waves that come nearer. */
function* draw({
  shift = () => STILL,
  waterFrom = 90,
  grey = (level) => level,
}: Scene): Generator<GreyPicture> {
  const random = seededRandom(11);
  const houses = Array.from({ length: 60 }, () => ({
    x: random() * WIDTH,
    y: random() * HEIGHT,
    width: 6 + 30 * random(),
    height: 4 + 16 * random(),
    level: 40 + 180 * random(),
  }));
  const land = Float64Array.from({ length: WIDTH * HEIGHT }, () => 120);
  for (const house of houses)
    for (let y = Math.floor(house.y); y < Math.min(HEIGHT, house.y + house.height); y += 1)
      for (let x = Math.floor(house.x); x < Math.min(WIDTH, house.x + house.width); x += 1)
        land[y * WIDTH + x] = house.level;
  const landAt = (atX: number, atY: number): number => {
    const x = Math.min(WIDTH - 1.001, Math.max(0, atX));
    const y = Math.min(HEIGHT - 1.001, Math.max(0, atY));
    const [left, top] = [Math.floor(x), Math.floor(y)];
    const level = (dx: number, dy: number): number => land[(top + dy) * WIDTH + left + dx] ?? 0;
    const upper = level(0, 0) + (x - left) * (level(1, 0) - level(0, 0));
    const lower = level(0, 1) + (x - left) * (level(1, 1) - level(0, 1));
    return upper + (y - top) * (lower - upper);
  };
  // Waves of several lengths and directions, each with the speed of its length.
  const waves = Array.from({ length: 6 }, () => ({
    length: 8 + 24 * random(),
    slant: random() - 0.5,
    phase: 6 * random(),
  }));
  const surfaceAt = (x: number, y: number, index: number): number =>
    waves.reduce(
      (sum, { length, slant, phase }) =>
        sum +
        0.4 * Math.sin((2 * Math.PI * (y + slant * x)) / length - (4 * index) / Math.sqrt(length) + phase),
      0,
    );
  for (let index = 0; index < PICTURES; index += 1) {
    const moved = shift(index);
    const luma = new Uint8Array(WIDTH * HEIGHT);
    for (let y = 0, at = 0; y < HEIGHT; y += 1)
      for (let x = 0; x < WIDTH; x += 1, at += 1) {
        const [atX, atY] = [x - moved.x, y - moved.y];
        const wave = atY < waterFrom ? 0 : surfaceAt(atX, atY, index);
        const level = atY < waterFrom ? landAt(atX, atY) : 90 + 25 * wave;
        luma[at] = Math.min(255, Math.max(0, Math.round(grey(level + 3 * (random() - 0.5), x, y))));
      }
    yield { luma, width: WIDTH, height: HEIGHT };
  }
}

function inspect(scene: Scene) {
  const pictures = new ClipPictures();
  const findings = [...draw(scene)].map((picture) => pictures.add(picture));
  return { findings, summary: summariseFindings(findings) };
}

/** Spread of the errors of the shifts after the first pictures: a constant error does no harm. */
function errorsOf(findings: readonly { readonly shift: Shift }[], shift: (index: number) => Shift): number {
  const errors = findings.map((finding, index) => ({
    x: finding.shift.x - shift(index).x,
    y: finding.shift.y - shift(index).y,
  }));
  const settled = errors.slice(20);
  const mean = (axis: 'x' | 'y'): number =>
    settled.reduce((sum, error) => sum + error[axis], 0) / settled.length;
  return Math.max(...settled.map(({ x, y }) => Math.hypot(x - mean('x'), y - mean('y'))));
}

describe('ClipPictures', () => {
  it.each<[string, (index: number) => Shift]>([
    ['a still camera', () => STILL],
    ['slow sway', (i) => ({ x: 5 * Math.sin(i / 9), y: 3 * Math.sin(i / 7) })],
    [
      'a mast in the wind',
      (i) => (i === 0 ? STILL : { x: 2 * Math.sin(i * 2.1), y: 1.5 * Math.cos(i * 1.3) }),
    ],
    ['a push', (i) => (i < 40 ? STILL : { x: 6, y: -2 })],
  ])('follows %s to less than a pixel', (_what, shift) => {
    const { findings, summary } = inspect({ shift, waterFrom: 120 });
    expect(summary).toEqual({ faults: [], hasMoved: false, isRegistered: true });
    expect(errorsOf(findings, shift)).toBeLessThan(1);
  });

  it('follows the scene and not a privacy mask', () => {
    const shift = (i: number): Shift => ({ x: 5 * Math.sin(i / 9), y: 0 });
    const grey = (level: number, x: number, y: number): number => (x > 180 && y < 110 ? MASK_GREY : level);
    const { findings } = inspect({ shift, grey, waterFrom: 120 });
    expect(errorsOf(findings, shift)).toBeLessThan(1);
  });

  it('sees that the camera was turned, and starts again there', () => {
    const { findings, summary } = inspect({ shift: (i) => (i < 40 ? STILL : { x: 50, y: 8 }) });
    expect(summary.hasMoved).toBe(true);
    const moves = findings.flatMap(({ hasMoved }, index) => (hasMoved ? [index] : []));
    expect(moves).toEqual([49]);
    expect(summariseFindings(findings.slice(50))).toMatchObject({ hasMoved: false, isRegistered: true });
  });

  it('does not take a short interruption for another view', () => {
    const { summary } = inspect({ shift: (i) => (i >= 40 && i < 46 ? { x: 50, y: 8 } : STILL) });
    expect(summary).toMatchObject({ hasMoved: false, isRegistered: true });
  });

  it('says that water alone cannot be registered', () => {
    expect(inspect({ waterFrom: 0 }).summary).toMatchObject({ hasMoved: false, isRegistered: false });
  });

  it.each<[string, Scene['grey'] & {}, readonly string[]]>([
    ['a clear picture', (level) => level, []],
    ['thick fog', (level) => 190 + 0.03 * level, ['fog']],
    ['sun on the lens', (level, x) => (x < 60 ? 255 : level), ['glare']],
    ['a hand before the lens', (level, x) => (x < 120 ? 70 : level), ['obstructed']],
  ])('finds the fault of %s', (_what, grey, faults) => {
    expect(inspect({ grey }).summary.faults).toEqual(faults);
  });
});
