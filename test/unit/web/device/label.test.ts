import { describe, expect, it } from 'vitest';
import type { LabelRecord } from '../../../../src/contract/openapi/views.ts';
import { decideSave, type Reading } from '../../../../src/web/device/now/label/decide-save.ts';
import { frameTimeMs } from '../../../../src/web/device/now/label/frame-time.ts';
import { progressOf } from '../../../../src/web/device/now/label/progress.ts';
import { labelText, valueText } from '../../../../src/web/device/now/label/said.ts';
import {
  allValues,
  faceM,
  fewValues,
  middleIndex,
  mustFollow,
  parseValue,
  seenAt,
  valueOf,
} from '../../../../src/web/device/now/label/values.ts';

describe('the values to tap', () => {
  it.each([
    ['m', 'face', 1.1, [0.8, 0.9, 1, 1.1, 1.2, 1.3, 1.4]],
    ['m', 'face', 0, [0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7]],
    ['m', 'face', 25, [6, 7, 8, 9, 10, 11, 12]],
    ['ft', 'face', 1.1, [2, 2.5, 3, 3.5, 4, 5, 6]],
    ['ft', 'hawaiian', 1.1, [0.5, 1, 1.5, 2, 2.5, 3, 3.5]],
    ['m', 'face', null, [0.7, 0.8, 0.9, 1, 1.1, 1.2, 1.3]],
  ] as const)('are around the estimate in %s, %s scale, for %s m', (unit, scale, estimateM, wanted) => {
    expect(fewValues(middleIndex(estimateM, unit, scale), unit)).toEqual(wanted);
  });

  it('stay where they are while the estimate moves within them', () => {
    const middle = middleIndex(1.1, 'm', 'face');
    expect(mustFollow(middle, middleIndex(1.3, 'm', 'face'))).toBe(false);
    expect(mustFollow(middle, middleIndex(1.4, 'm', 'face'))).toBe(true);
  });

  it('cover all heights that people read, without a repetition', () => {
    for (const unit of ['m', 'ft'] as const) {
      const values = allValues(unit);
      expect(values).toEqual([...new Set(values)].toSorted((a, b) => a - b));
      expect(valueOf(12, unit, 'face')).toBeLessThanOrEqual(values.at(-1) ?? 0);
    }
  });

  it('are converted to metres of face and back', () => {
    expect(faceM(3, 'ft', 'hawaiian')).toBeCloseTo(1.829, 3);
    expect(valueOf(faceM(3, 'ft', 'hawaiian'), 'ft', 'hawaiian')).toBeCloseTo(3, 6);
  });
});

describe('parseValue', () => {
  it.each([
    ['1.2', 1.2],
    [' 1,25 ', 1.25],
    ['.5', 0.5],
    ['0', 0],
    ['25', 25],
  ])('takes %o', (typed, value) => {
    expect(parseValue(typed, 'm', 'face')).toBe(value);
  });

  it.each(['', '-1', '1e3', '26', 'NaN', '1.2.3', '<b>', '1 2', 'Infinity'])('refuses %o', (typed) => {
    expect(parseValue(typed, 'm', 'face')).toBeNull();
  });

  it('limits the face, whatever the scale is', () => {
    expect(parseValue('13', 'm', 'hawaiian')).toBeNull();
    expect(parseValue('41', 'ft', 'hawaiian')).toBe(41);
  });
});

describe('seenAt', () => {
  const seen = [
    { value: 'first', sinceMs: 0 },
    { value: 'second', sinceMs: 10_000 },
  ];

  it('is the frame before when a new one came while the finger came down', () => {
    expect(seenAt(seen, 10_300)).toBe('first');
    expect(seenAt(seen, 11_000)).toBe('second');
  });

  it('is the first frame even right after it came', () => {
    expect(seenAt(seen, 100)).toBe('first');
    expect(seenAt([], 100)).toBeNull();
  });
});

const reading: Reading = {
  camera: 'north',
  observationId: '0195f3a0-0000-7000-8000-000000000001',
  capturedAt: '2026-12-01T10:00:00.000Z',
  value: 4,
  unit: 'ft',
  scale: 'face',
  observer: 'ana',
  atMs: Date.parse('2026-12-01T10:00:30.000Z'),
};
const label: LabelRecord = {
  observation_id: reading.observationId,
  camera: 'north',
  height_m: 1.219,
  observer: 'ana',
  note: null,
  height: 4,
  unit: 'ft',
  scale: 'face',
  tide_m: null,
  created_at: '2026-12-01T10:00:31.000Z',
};

describe('decideSave', () => {
  it('sends a first reading, and the correction of an earlier one', () => {
    expect(decideSave(reading, null)).toBe('send');
    expect(decideSave(reading, { ...label, height_m: 1, created_at: '2026-12-01T09:00:00.000Z' })).toBe(
      'send',
    );
  });

  it('finds a reading whose answer was lost', () => {
    expect(decideSave(reading, label)).toBe('stored');
  });

  it('does not replace what somebody read while this reading waited for the agent', () => {
    expect(decideSave(reading, { ...label, observer: 'ben', height_m: 0.9 })).toBe('theirs');
  });
});

describe('the words of a reading', () => {
  it('are those of the person', () => {
    expect(labelText({ ...label, scale: 'hawaiian', height: 3 })).toBe('3\u00a0ft Hawaiian');
    expect(labelText({ ...label, height: null, unit: null, scale: null, height_m: 1.25 })).toBe(
      '1.25\u00a0m',
    );
    expect(valueText(0, 'm', 'face')).toBe('Flat');
    expect(valueText(1, 'm', 'face')).toBe('1.0\u00a0m');
  });
});

describe('progressOf', () => {
  const summary = {
    labels: 6,
    labels_wanted: 3,
    sessions: 5,
    labels_kept: 0,
    loo_mae_m: null,
    loo_median_mae_m: null,
    view: 'same' as const,
  };
  it('counts visits', () => {
    expect(progressOf(summary)).toEqual({ read: 5, wanted: 8, kept: 0 });
    expect(progressOf({ ...summary, sessions: 30, labels: 40, labels_wanted: 0 })).toMatchObject({
      read: 8,
      wanted: 8,
    });
    expect(progressOf({ ...summary, sessions: 0, labels: 0, labels_wanted: 8 })).toMatchObject({
      read: 0,
      wanted: 8,
    });
  });
});

describe('frameTimeMs', () => {
  it('reads the time of an id, and none of other ids', () => {
    expect(frameTimeMs('0195f3a0-0000-7000-8000-000000000001')).toBe(0x0195f3a00000);
    expect(frameTimeMs('0195f3a0-0000-4000-8000-000000000001')).toBeNull();
    expect(frameTimeMs('file/17')).toBeNull();
  });
});
