import { describe, expect, it } from 'vitest';
import { timeOrderedUuid, uuidTimeMs } from '../../../src/base/uuid.ts';

describe('timeOrderedUuid', () => {
  it('is a UUID of version 7 that contains its time and sorts by it', () => {
    const times = [0, 1, Date.UTC(2026, 5, 1), Date.UTC(2026, 5, 1) + 1, Date.UTC(9999, 0, 1)];
    const ids = times.map(timeOrderedUuid);
    for (const id of ids)
      expect(id).toMatch(/^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/);
    expect(ids.toSorted()).toEqual(ids);
    expect(ids.map(uuidTimeMs)).toEqual(times);
  });

  it('differs between two ids of one time, and accepts any time of a clock', () => {
    expect(timeOrderedUuid(5)).not.toBe(timeOrderedUuid(5));
    expect(uuidTimeMs(timeOrderedUuid(1234.9))).toBe(1234);
    expect([-5, 8.64e15].map((time) => uuidTimeMs(timeOrderedUuid(time)))).toEqual([0, 2 ** 48 - 1]);
  });
});
