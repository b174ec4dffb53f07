import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { Store } from '../../../src/store/store.ts';
import { draft, ManualClock, NOTHING_SEEN, openStore, tempDir } from '../../fixtures/store.ts';

const minute = (n: number): string => new Date(Date.UTC(2026, 5, 1, 0, n)).toISOString();

describe('Observations.query', () => {
  let dir: ReturnType<typeof tempDir>;
  let store: Store;

  beforeEach(() => {
    dir = tempDir();
    store = openStore(dir.path, new ManualClock());
    for (let n = 0; n < 25; n += 1)
      for (const camera of ['north', 'south'])
        store.append(
          draft({ camera, captured_at: minute(n), status: n % 5 === 0 ? 'failed' : 'measured' }),
          NOTHING_SEEN,
        );
  });
  afterEach(() => {
    store.close();
    dir.remove();
  });

  it('pages newest first through everything once, also while records come in', () => {
    const seqs: string[] = [];
    let cursor: string | null = null;
    do {
      const page: ReturnType<Store['observations']['query']> = store.observations.query({
        limit: 7,
        ...(cursor === null ? {} : { cursor }),
      });
      seqs.push(...page.observations.map((o) => `${o.captured_at} ${o.camera}`));
      cursor = page.cursor;
      store.append(draft({ captured_at: minute(50) }), NOTHING_SEEN);
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

  it('selects by camera, time and status', () => {
    const { observations, cursor } = store.observations.query({
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

  it('refuses a cursor it never gave', () => {
    for (const cursor of ['', 'x', Buffer.from('1:2; DROP TABLE observations').toString('base64url')])
      expect(() => store.observations.query({ limit: 1, cursor })).toThrow(
        expect.objectContaining({ code: 'usage' }),
      );
  });

  it('finds the newest of a camera by its number, not by a clock that may have stepped back', () => {
    const late = store.append(draft({ captured_at: '1970-01-01T00:00:05.000Z' }), NOTHING_SEEN);
    expect(store.observations.newest('north')?.id).toBe(late.id);
    expect(store.observations.newest('none')).toBeNull();
  });

  it('gives what was stored behind a record, in the order in which it was stored', () => {
    const late = store.append(draft({ captured_at: '1970-01-01T00:00:05.000Z' }), NOTHING_SEEN);
    const newest = store.observations.newestRow();
    expect(newest?.id).toBe(late.id);
    expect(store.observations.rowOf(late.id)).toBe(newest?.rowId);
    expect(store.observations.rowOf('none')).toBeNull();
    const all = store.observations.after(0, 1000);
    expect(all.length).toBe(51);
    expect(all.at(-1)?.record).toMatchObject({ id: late.id, seq: late.seq });
    const tenth = all[9]?.rowId ?? 0;
    expect(store.observations.after(tenth, 3)).toEqual(all.slice(10, 13));
    expect(store.observations.after(newest?.rowId ?? 0, 3)).toEqual([]);
  });
});
