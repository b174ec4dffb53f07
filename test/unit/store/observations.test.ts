import { beforeEach, describe, expect, it } from 'vitest';
import type { Store } from '../../../src/store/store.ts';
import { draft, NO_FEATURES } from '../../fixtures/store.ts';
import { useStore } from '../../fixtures/use-store.ts';

const minute = (n: number): string => new Date(Date.UTC(2026, 5, 1, 0, n)).toISOString();

describe('Observations', () => {
  const state = useStore();
  beforeEach(() => {
    for (let n = 0; n < 25; n += 1)
      for (const camera of ['north', 'south'])
        state.store.append(
          draft({ camera, captured_at: minute(n), status: n % 5 === 0 ? 'failed' : 'measured' }),
          NO_FEATURES,
        );
  });

  it('returns every record once, newest first, while new records are stored', () => {
    const seqs: string[] = [];
    let cursor: string | null = null;
    do {
      const page: ReturnType<Store['observations']['query']> = state.store.observations.query({
        limit: 7,
        ...(cursor === null ? {} : { cursor }),
      });
      seqs.push(...page.observations.map((o) => `${o.captured_at} ${o.camera}`));
      cursor = page.cursor;
      state.store.append(draft({ captured_at: minute(50) }), NO_FEATURES);
    } while (cursor !== null);
    expect(seqs).toHaveLength(50);
    expect(new Set(seqs).size).toBe(50);
    expect(seqs.map((s) => s.slice(0, 24))).toEqual(
      seqs
        .map((s) => s.slice(0, 24))
        .toSorted()
        .reverse(),
    );
  });

  it('filters by camera, time and status', () => {
    const { observations, cursor } = state.store.observations.query({
      camera: 'south',
      fromMs: Date.parse(minute(5)),
      toMs: Date.parse(minute(16)),
      status: 'failed',
      limit: 10,
    });
    expect(observations.map((o) => [o.camera, o.captured_at])).toEqual([
      ['south', minute(15)],
      ['south', minute(10)],
      ['south', minute(5)],
    ]);
    expect(cursor).toBeNull();
  });

  it('refuses an invalid cursor', () => {
    for (const cursor of ['', 'x', Buffer.from('1:2; DROP TABLE observations').toString('base64url')])
      expect(() => state.store.observations.query({ limit: 1, cursor })).toThrow(
        expect.objectContaining({ code: 'usage', hint: 'begin again without a cursor' }),
      );
  });

  it('finds the newest record of a camera by sequence number, not by time', () => {
    const late = state.store.append(draft({ captured_at: '1970-01-01T00:00:05.000Z' }), NO_FEATURES);
    expect(state.store.observations.newest('north')?.id).toBe(late.id);
    expect(state.store.observations.newest('none')).toBeNull();
  });

  it('returns the records stored after a row, in the order of storage', () => {
    const late = state.store.append(draft({ captured_at: '1970-01-01T00:00:05.000Z' }), NO_FEATURES);
    const newest = state.store.observations.newestRow();
    expect(newest?.id).toBe(late.id);
    expect(state.store.observations.rowIdOf(late.id)).toBe(newest?.rowId);
    expect(state.store.observations.rowIdOf('none')).toBeNull();
    const all = state.store.observations.after(0, 1000);
    expect(all.length).toBe(51);
    expect(all.at(-1)?.record).toMatchObject({ id: late.id, seq: late.seq });
    const tenth = all[9]?.rowId ?? 0;
    expect(state.store.observations.after(tenth, 3)).toEqual(all.slice(10, 13));
    expect(state.store.observations.after(newest?.rowId ?? 0, 3)).toEqual([]);
  });
});
