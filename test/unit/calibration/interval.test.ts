import { describe, expect, it } from 'vitest';
import {
  includePoint,
  fewLabelsInterval,
  jackknifeInterval,
  upperQuantile,
} from '../../../src/calibration/interval.ts';
import { runNow } from '../../../src/calibration/steps.ts';
import { calibrateView, estimateBy } from '../../../src/calibration/view-calibration.ts';
import { randomFrom, syntheticSite } from '../../fixtures/labelled.ts';

describe('upperQuantile', () => {
  it('returns the ceil(0.8 (n + 1))-th smallest value, and null with fewer than four', () => {
    const ones = (n: number) => Array.from({ length: n }, () => 1);
    const to = (n: number) => Array.from({ length: n }, (_, i) => n - i);
    expect([3, 4, 8, 9, 14].map((n) => upperQuantile(to(n), ones(n), 0.8))).toEqual([null, 4, 8, 8, 12]);
  });

  it('counts each group once, for any number of labels', () => {
    const crowd = Array.from({ length: 50 }, () => ({ value: 9, weight: 1 / 50 }));
    const others = [1, 2, 3, 4, 5, 6, 7, 8].map((value) => ({ value, weight: 1 }));
    const all = [...crowd, ...others];
    expect(
      upperQuantile(
        all.map((o) => o.value),
        all.map((o) => o.weight),
        0.8,
      ),
    ).toBe(8);
  });
});

describe('intervals', () => {
  it('are never below zero and always contain the point', () => {
    expect(includePoint(0.1, { lowM: -0.4, highM: 0.6 })).toEqual({ lowM: 0, highM: 0.6 });
    expect(includePoint(2, { lowM: 0.5, highM: 1.5 })).toEqual({ lowM: 0.5, highM: 2 });
  });

  it('are null with too few groups for the coverage', () => {
    const one = { errorM: 0.1, predictionM: 1, weight: 1 };
    expect(jackknifeInterval([one, one, one])).toBeNull();
    expect(jackknifeInterval([one, one, one, one])).toEqual({ lowM: 0.9, highM: 1.1 });
  });

  it('of few labels are narrower if the labels agree', () => {
    const width = (heightsM: number[]) => {
      const { lowM, highM } = fewLabelsInterval(0.6, heightsM);
      return highM - lowM;
    };
    expect(width([0.6])).toBeGreaterThan(1.5);
    expect(width([0.6, 0.6, 0.6])).toBeLessThan(width([0.6, 0.6]));
    expect(width([0.2, 0.6, 2])).toBeGreaterThan(width([0.5, 0.6, 0.7]));
  });

  it.each(['ridge', 'median'] as const)('of the %s contain about 80% of new bursts', (method) => {
    let covered = 0;
    let trials = 0;
    for (let seed = 1; seed <= 25; seed += 1) {
      const samples = syntheticSite({ seed, bursts: 36 }).map(({ label, embedding }) => ({
        embedding,
        heightM: label.heightM,
        group: label.group,
      }));
      const calibration = runNow(calibrateView(samples.slice(0, 16)));
      for (const sample of samples.slice(16)) {
        const { lowM, highM } = estimateBy(method, calibration, sample.embedding);
        trials += 1;
        if (sample.heightM >= lowM && sample.heightM <= highM) covered += 1;
      }
    }
    const coverage01 = covered / trials;
    console.log(
      `synthetic coverage of the ${method} at nominal 0.80, 16 labels: ${coverage01.toFixed(3)} (${trials})`,
    );
    expect(coverage01).toBeGreaterThan(0.74);
    expect(coverage01).toBeLessThan(0.92);
  });

  it('of few labels contain at least 80% of log-normal heights', () => {
    const { normal } = randomFrom(3);
    const sea = () => 0.8 * Math.exp(0.5 * normal());
    for (const n of [1, 2, 4, 7]) {
      let covered = 0;
      for (let trial = 0; trial < 2000; trial += 1) {
        const heightsM = Array.from({ length: n }, sea).sort((a, b) => a - b);
        const { lowM, highM } = fewLabelsInterval(heightsM[n >> 1] ?? 0, heightsM);
        const next = sea();
        if (next >= lowM && next <= highM) covered += 1;
      }
      expect(covered / 2000).toBeGreaterThan(0.78);
      expect(covered / 2000).toBeLessThan(0.97);
    }
  });
});
