import { describe, expect, it } from 'vitest';
import { orderLabelQueue } from '../../../src/control/label-queue.ts';
import { recordValues } from '../../fixtures/record-values.ts';

const HOUR_MS = 3_600_000;
const NOON_MS = Date.UTC(2026, 5, 1, 12);
const at = (hours: number, over: Parameters<typeof recordValues>[0] = {}) =>
  recordValues({ id: String(hours), capturedAtMs: NOON_MS + hours * HOUR_MS, ...over });
const idsOf = (queue: ReturnType<typeof orderLabelQueue>): string[] => queue.map(({ record }) => record.id);

describe('orderLabelQueue', () => {
  it('begins with the least certain frame, and says why', () => {
    const narrow = at(0, { heightM: 1, lowM: 0.9, highM: 1.1 });
    const wide = at(-30, { heightM: 1, lowM: 0.5, highM: 1.8 });
    const usual = at(-60, { heightM: 1, lowM: 0.9, highM: 1.1, basis: 'site_median' });
    const none = at(-90, { heightM: null, lowM: null, highM: null, basis: null });
    const queue = orderLabelQueue([narrow, wide, usual, none], [], 10);
    expect(queue.map(({ reason }) => reason)).toEqual([
      'usual_height',
      'no_height',
      'wide_interval',
      'other_time',
    ]);
  });

  it('spreads over time: frames of one visit do not follow each other', () => {
    const visits = [0, 0.25, 0.5, -27, -27.25, -50].map((hours) => at(hours));
    const [first, second, third] = idsOf(orderLabelQueue(visits, [], 3));
    expect(new Set([first, second, third].map((id) => Math.trunc(Number(id))))).toEqual(
      new Set([0, -27, -50]),
    );
  });

  it('prefers times and times of day without a reading', () => {
    const readings = [NOON_MS - 48 * HOUR_MS];
    const noon = at(0);
    const morning = at(-5);
    const besideReading = at(-48.1);
    expect(idsOf(orderLabelQueue([noon, besideReading, morning], readings, 10))).toEqual([
      '-5',
      '0',
      '-48.1',
    ]);
  });

  it('has only measured frames that can get a label, and at most as many as wanted', () => {
    const dark = at(1, { status: 'rejected', heightM: null });
    const old = at(2, { isLabellable: false });
    expect(idsOf(orderLabelQueue([dark, old, at(3), at(-9)], [], 1))).toEqual(['3']);
    expect(orderLabelQueue([dark, old], [], 5)).toEqual([]);
  });

  it('takes equally useful frames newest first', () => {
    expect(idsOf(orderLabelQueue([at(-48), at(0), at(-24)], [], 1))).toEqual(['0']);
  });
});
