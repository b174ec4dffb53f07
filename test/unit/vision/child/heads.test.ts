import { describe, expect, it } from 'vitest';
import type { Manifest } from '../../../../src/model/manifest.ts';
import { applyActivation, readHeads } from '../../../../src/vision/child/heads.ts';

const outputs = (values: Record<string, number[]>) =>
  new Map(
    Object.entries(values).map(([ref, list]) => [
      ref,
      { data: Float32Array.from(list), dims: [1, list.length] },
    ]),
  );
const labels = ['LEFT', 'RIGHT', 'STRAIGHT'];

describe('applyActivation', () => {
  it('computes a softmax that sums to one and does not overflow', () => {
    const [a, b] = applyActivation([1000, 1000], 'softmax', 1);
    expect([a, b]).toEqual([0.5, 0.5]);
    expect(applyActivation([2, 0], 'softmax', 2)[0]).toBeCloseTo(Math.E / (Math.E + 1), 9);
  });

  it('computes a sigmoid, and clamps probabilities for none', () => {
    expect(applyActivation([0, 4], 'sigmoid', 2)[1]).toBeCloseTo(1 / (1 + Math.exp(-2)), 9);
    expect(applyActivation([-0.2, 0.25, 1.4], 'none', 3)).toEqual([0, 0.25, 1]);
  });

  const extremes = [
    [3e38, -3e38],
    [-3e38, -3e38],
    [0, 0],
    [1e-45, 0],
    [3e38, 3e38, -1],
  ];
  const temperatures = [5e-324, 1e-308, 1e-30, 0.001, 1000, 1e308];
  it.each(
    (['softmax', 'sigmoid', 'none'] as const).flatMap((activation) =>
      temperatures.map((temperature) => [activation, temperature] as const),
    ),
  )('gives probabilities for any finite value: %s with temperature %d', (activation, temperature) => {
    for (const logits of extremes)
      for (const value of applyActivation(logits, activation, temperature)) {
        expect(value).toBeGreaterThanOrEqual(0);
        expect(value).toBeLessThanOrEqual(1);
      }
  });
});

describe('readHeads', () => {
  it('returns null for heads that the manifest does not name', () => {
    const heads = readHeads({ embedding: { output: 'a.e' } }, outputs({ 'a.e': [1, 2, 3] }));
    expect(heads).toEqual({
      waveHeight: null,
      waveDirection: null,
      breakingType: null,
      quality: null,
      embedding: Float32Array.from([1, 2, 3]),
    });
  });

  it('reads a height and its interval, never below zero', () => {
    const heads: Manifest['heads'] = {
      wave_height: { output: 'a.h', unit: 'm', low: 'a.l', high: 'a.u', coverage: 0.8 },
    };
    expect(readHeads(heads, outputs({ 'a.h': [1.5], 'a.l': [-0.1], 'a.u': [2] })).waveHeight).toEqual({
      heightM: 1.5,
      lowM: 0,
      highM: 2,
      coverage: 0.8,
    });
  });

  it('returns the most probable label and all labels', () => {
    const heads: Manifest['heads'] = { wave_direction: { output: 'a.d', labels, activation: 'softmax' } };
    const direction = readHeads(heads, outputs({ 'a.d': [0, 3, 1] })).waveDirection;
    expect(direction?.label).toBe('RIGHT');
    expect(direction?.all.map(({ label }) => label)).toEqual(labels);
  });

  it.each([
    ['too few values', { wave_direction: { output: 'a.d', labels, activation: 'softmax' } }],
    ['a missing output', { embedding: { output: 'a.none' } }],
    ['several values for a height', { wave_height: { output: 'a.d', unit: 'm' } }],
  ] as const)('rejects %s', (_, heads) => {
    expect(() => readHeads(heads as unknown as Manifest['heads'], outputs({ 'a.d': [1, 2] }))).toThrow(
      expect.objectContaining({ code: 'vision_output_invalid' }),
    );
  });
});
