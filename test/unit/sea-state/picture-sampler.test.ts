import { describe, expect, it } from 'vitest';
import { PictureSampler, type SamplerOptions } from '../../../src/sea-state/picture-sampler.ts';
import { resample } from '../../../src/sea-state/resample.ts';

const SIZE = { width: 32, height: 18 };

const picture = (grey: (x: number, y: number) => number, size = SIZE) => ({
  ...size,
  luma: Uint8Array.from({ length: size.width * size.height }, (_, at) =>
    grey(at % size.width, Math.floor(at / size.width)),
  ),
});
const plain = (grey: number) => picture(() => grey);

const sampler = (part: Partial<SamplerOptions> = {}) =>
  new PictureSampler({ fps: 2, durationS: 300, lines: [], region: null, ...part });

describe('PictureSampler', () => {
  it.each([
    { fps: 2, durationS: 512, keptHz: 2 },
    { fps: 5, durationS: 2048, keptHz: 5 / 3 },
  ])('keeps at most 24 MiB of $durationS s at $fps frames per second', ({ fps, durationS, keptHz }) => {
    const clip = sampler({ fps, durationS });
    const frame = plain(7);
    for (let at = 0; at < durationS * fps; at += 1) clip.add(frame, (at * 1000) / fps);
    const { values, timesS, wantedHz } = clip.samples();
    expect(values.buffer.byteLength).toBeLessThanOrEqual(24 * 1024 * 1024);
    expect(wantedHz).toBeCloseTo(keptHz, 5);
    expect(timesS.length / durationS).toBeCloseTo(keptHz, 1);
    expect(clip.durationS).toBeGreaterThan(durationS - 1);
  });

  it('keeps at most 24 MiB of a camera that gives far more frames than wanted', () => {
    const clip = sampler({ durationS: 256 });
    for (let at = 0; at < 4000; at += 1) clip.add(plain(7), at * 10_000);
    expect(clip.frames).toBeLessThan(600);
  });

  it('leaves out pictures of another size, and those that are not later', () => {
    const clip = sampler();
    expect(clip.add(plain(1), 1000)).toBe(true);
    expect(clip.add(plain(2), 1000)).toBe(false);
    expect(clip.add(plain(2), 900)).toBe(false);
    expect(
      clip.add(
        picture(() => 2, { width: 18, height: 32 }),
        1500,
      ),
    ).toBe(false);
    expect(clip.add(plain(2), 1500)).toBe(true);
    expect([...clip.samples().timesS]).toEqual([0, 0.5]);
  });

  it('sees no movement outside the region', () => {
    const region: [number, number][] = [
      [0, 0],
      [0.5, 0],
      [0.5, 1],
      [0, 1],
    ];
    const clip = sampler({ region });
    clip.add(plain(10), 0);
    clip.add(plain(90), 500);
    const { values, columns, rows } = clip.samples();
    const row = [...values.subarray(columns * rows, columns * rows + columns)];
    expect(row).toEqual(Array.from({ length: columns }, (_, column) => (column < columns / 2 ? 90 : 10)));
  });
});

describe('samples at an even pace', () => {
  const samples = (timesS: readonly number[], wantedHz = 2) =>
    resample({
      ...{ columns: 1, rows: 1, cellAspect: null, wantedHz },
      timesS: Float64Array.from(timesS),
      values: Uint8Array.from(timesS, (time) => 10 * time),
    });

  it('come from the frames before and after them', () => {
    const { values, ...even } = samples([0, 0.4, 1.2, 1.5, 2]);
    expect([...values]).toEqual([0, 5, 10, 15, 20]);
    expect(even).toMatchObject({ samples: 5, rateHz: 2, missing: 1 });
  });

  it('name what is missing', () => {
    expect(samples([0, 0.5, 1, 4, 4.5, 5])).toMatchObject({ samples: 11, missing: 5, longestGapS: 3 });
  });

  it('have the rate of the camera when it gives fewer frames than wanted, but not for jitter', () => {
    const slow = Array.from({ length: 40 }, (_, index) => index * 1.25);
    expect(samples(slow)).toMatchObject({ rateHz: 0.8, samples: 40, missing: 0 });
    const jitter = Array.from({ length: 40 }, (_, index) => index * 0.5 + (index % 2) * 0.08);
    expect(samples(jitter)).toMatchObject({ rateHz: 2, missing: 0 });
  });
});
