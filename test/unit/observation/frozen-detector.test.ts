import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import sharp from 'sharp';
import { describe, expect, it } from 'vitest';
import { FrozenDetector, signatureDistance } from '../../../src/observation/frozen-detector.ts';
import type { ViewSignature } from '../../../src/vision/protocol.ts';
import { signatureOf } from '../../fixtures/signature.ts';
import { everyFrame, surfcamDir } from '../../fixtures/surfcam.ts';

const OPTIONS = { bursts: 3, minSpanMs: 120_000 };
const MAX_SAME_LUMA = 3.6;

/** Adds repeatable sensor noise with a standard deviation of about `sigma` grey levels. */
function addNoise(pixels: Buffer, sigma: number, seed: number): Buffer {
  let state = seed * 2654435761 + 1;
  const uniform = (): number => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return state / 2 ** 32;
  };
  return Buffer.from(
    Uint8ClampedArray.from(pixels, (value) => value + (uniform() + uniform() + uniform() - 1.5) * 2 * sigma),
  );
}

/** Encodes the image again at a smaller size, in which noise has more weight. */
async function reencode(image: Buffer, quality: number, sigma: number, seed: number): Promise<Buffer> {
  const { data, info } = await sharp(image)
    .resize(640)
    .removeAlpha()
    .raw()
    .toBuffer({ resolveWithObject: true });
  const raw = { width: info.width, height: info.height, channels: 3 } as const;
  return sharp(addNoise(data, sigma, seed), { raw })
    .jpeg({ quality })
    .toBuffer();
}

const view = (paint: (x: number, y: number) => number): ViewSignature => ({
  luma: Uint8Array.from({ length: 160 * 90 }, (_, at) => paint(at % 160, Math.floor(at / 160))),
  width: 160,
  height: 90,
});
const scene = (shift: number) => view((x, y) => 120 + 40 * Math.sin((x + shift) / 5) * Math.cos(y / 7));

describe('FrozenDetector', () => {
  const verdicts = (views: readonly ViewSignature[], stepMs: number) => {
    const detector = new FrozenDetector(OPTIONS);
    return views.map((signature, index) => detector.add(signature, 1e6 + index * stepMs));
  };

  it('reports frozen after enough bursts over enough time with the same image', () => {
    expect(verdicts(Array<ViewSignature>(4).fill(scene(0)), 60_000)).toEqual([
      'moving',
      'moving',
      'frozen',
      'frozen',
    ]);
    expect(verdicts(Array<ViewSignature>(3).fill(scene(0)), 10_000)).toEqual(['moving', 'moving', 'moving']);
    expect(verdicts(Array<ViewSignature>(3).fill(scene(0)), 600_000)).toEqual(['moving', 'moving', 'frozen']);
  });

  it('reports moving with the first image that differs', () => {
    const still = scene(0);
    expect(verdicts([still, still, still, scene(2), scene(2), still], 60_000)).toEqual([
      'moving',
      'moving',
      'frozen',
      'moving',
      'moving',
      'moving',
    ]);
  });

  it('ignores a clock in the image and changes of the overall brightness', () => {
    const clock = (minute: number) =>
      view((x, y) => (x < 24 && y < 8 ? (x * minute * 37) % 256 : 100 + minute + ((x * 7 + y * 13) % 60)));
    expect(verdicts([clock(1), clock(2), clock(3)], 60_000)).toEqual(['moving', 'moving', 'frozen']);
  });

  it('reports unknown at night and in dense fog', () => {
    const night = view((x, y) => (x === 80 ? 255 : 20 + ((x * y) % 3)));
    const fog = view((_, y) => 150 + Math.floor(y / 9));
    expect(verdicts([night, night, night], 60_000)).toEqual(['unknown', 'unknown', 'unknown']);
    expect(verdicts([fog, fog, fog], 60_000)).toEqual(['unknown', 'unknown', 'unknown']);
    // A dark image restarts the count.
    expect(verdicts([scene(0), scene(0), night, scene(0), scene(0)], 60_000).at(-1)).toBe('moving');
  });

  it('treats images of different resolution as different', () => {
    const small = { luma: new Uint8Array(80 * 45).fill(120), width: 80, height: 45 };
    expect(signatureDistance(scene(0), small)).toBe(Infinity);
  });
});

const frames = surfcamDir();
describe.skipIf(frames === null)('FrozenDetector on real beach frames (frames missing where skipped)', () => {
  const dir = frames ?? '';
  const rows = frames
    ? readFileSync(join(dir, 'labels.csv'), 'utf8')
        .trim()
        .split('\n')
        .slice(1)
        .map((line) => line.split(','))
        .map(([file = '', , , burst = '']) => ({ file, burst }))
    : [];
  /** Adjacent frames are compared, so bursts are complete: the calmest one, those with a duplicate frame, and every fifth. */
  const bursts = [...new Set(rows.map(({ burst }) => burst))];
  const selected = rows.filter(
    ({ burst }) => everyFrame || bursts.indexOf(burst) % 5 === 0 || ['26', '35', '37b'].includes(burst),
  );
  const load = (file: string) => readFileSync(join(dir, 'frames', file));

  it('never reports a real sea as frozen, and matches each frame with its noisy, re-encoded copy', async () => {
    const live: number[] = [];
    const duplicates: string[] = [];
    let detector = new FrozenDetector(OPTIONS);
    let previous: { burst: string; view: ViewSignature; index: number } | null = null;
    for (const { file, burst } of selected) {
      const signature = await signatureOf(load(file));
      const index: number = previous?.burst === burst ? previous.index + 1 : 0;
      if (index === 0) detector = new FrozenDetector(OPTIONS);
      else if (previous) {
        const distance = signatureDistance(previous.view, signature);
        // Two frames of the set are re-encoded copies of the frame before.
        if (distance < 1.5) duplicates.push(file);
        else live.push(distance);
      }
      expect(detector.add(signature, index * 80_000), file).toBe('moving');
      previous = { burst, view: signature, index };
    }
    expect(duplicates).toEqual(['beach_655.jpg', 'beach_727.jpg']);
    const still: number[] = [];
    for (const [index, { file }] of rows.filter((_, at) => at % 100 === 0).entries()) {
      const before = await signatureOf(await reencode(load(file), 90, 2, index + 1));
      for (const [quality, sigma] of [
        [60, 2],
        [75, 5],
        [95, 3],
      ] as const)
        still.push(
          signatureDistance(
            before,
            await signatureOf(await reencode(load(file), quality, sigma, index + 99)),
          ),
        );
    }
    console.log(
      `frozen: ${live.length} live pairs at least ${Math.min(...live).toFixed(2)}, ${still.length} still pairs at most ${Math.max(...still).toFixed(2)}, limit ${MAX_SAME_LUMA}`,
    );
    expect(live.length).toBeGreaterThan(everyFrame ? 400 : 120);
    expect(Math.min(...live)).toBeGreaterThan(MAX_SAME_LUMA * 1.4);
    expect(Math.max(...still)).toBeLessThan(MAX_SAME_LUMA / 1.4);
  }, 180_000);
});
