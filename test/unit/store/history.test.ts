import { join } from 'node:path';
import Database from 'better-sqlite3';
import { describe, expect, it } from 'vitest';
import type { Observation } from '../../../src/contract/observation.ts';
import type { ObservationQuery } from '../../../src/store/types.ts';
import { draft, NO_FEATURES, openCopy } from '../../fixtures/store.ts';
import { useStore } from '../../fixtures/use-store.ts';

const START_MS = Date.UTC(2026, 5, 1);
const STATUSES: readonly Observation['status'][] = ['measured', 'rejected', 'failed', 'skipped'];

describe('History', () => {
  const state = useStore({}, { inMemory: true });

  const appendAt = (
    minute: number,
    camera: string,
    status: Observation['status'] = 'measured',
  ): Observation =>
    state.store.append(
      draft({ camera, status, captured_at: new Date(START_MS + minute * 60_000).toISOString() }),
      NO_FEATURES,
    );
  /** The ids of all pages. */
  const readAll = (query: ObservationQuery): string[] => {
    const ids: string[] = [];
    let cursor: string | null = null;
    do {
      const page: ReturnType<typeof state.store.observations.query> = state.store.observations.query({
        ...query,
        ...(cursor === null ? {} : { cursor }),
      });
      expect(page.observations.length).toBeLessThanOrEqual(query.limit);
      ids.push(...page.observations.map(({ id }) => id));
      cursor = page.cursor;
    } while (cursor !== null);
    return ids;
  };
  /** Rows of `history` that differ from `observations`, in both directions. */
  const differences = (): unknown[] => {
    const db = openCopy(state.dir);
    const columns = 'camera, status, captured_at_ms, row_id';
    const [stored, ordered] = [`SELECT ${columns} FROM observations`, `SELECT ${columns} FROM history`];
    const rows = db
      .prepare(
        `SELECT * FROM (${stored} EXCEPT ${ordered}) UNION ALL SELECT * FROM (${ordered} EXCEPT ${stored})`,
      )
      .all();
    db.close();
    return rows;
  };

  it('answers each combination of camera, status, time and page as a scan of all records would', () => {
    const records: Observation[] = [];
    // Two records of one camera share each time, and the times do not follow the order of storage.
    for (let n = 0; n < 60; n += 1)
      for (const camera of ['north', 'south', 'west'])
        records.push(appendAt((n * 7) % 30, camera, STATUSES[(n * n) % 4]));
    const expected = ({ camera, status, fromMs, toMs }: Omit<ObservationQuery, 'limit'>): string[] =>
      records
        .map((record, index) => ({ record, index, ms: Date.parse(record.captured_at) }))
        .filter(
          ({ record, ms }) =>
            (camera === undefined || record.camera === camera) &&
            (status === undefined || record.status === status) &&
            ms >= (fromMs ?? -Infinity) &&
            ms < (toMs ?? Infinity),
        )
        .toSorted((a, b) => b.ms - a.ms || b.index - a.index)
        .map(({ record }) => record.id);
    for (const camera of [undefined, 'south', 'none'])
      for (const status of [undefined, 'failed', 'skipped'] as const)
        for (const fromMs of [undefined, START_MS + 5 * 60_000])
          for (const toMs of [undefined, START_MS + 21 * 60_000]) {
            const filter = {
              ...(camera === undefined ? {} : { camera }),
              ...(status === undefined ? {} : { status }),
              ...(fromMs === undefined ? {} : { fromMs }),
              ...(toMs === undefined ? {} : { toMs }),
            };
            for (const limit of [7, 1000]) expect(readAll({ ...filter, limit })).toEqual(expected(filter));
          }
  });

  it('merges more series than one statement can', () => {
    const ids: string[] = [];
    for (let n = 0; n < 240; n += 1) ids.unshift(appendAt(n, `cam-${n % 120}`, STATUSES[n % 2]).id);
    expect(readAll({ limit: 50 })).toEqual(ids);
    expect(readAll({ limit: 9, status: 'rejected' })).toEqual(ids.filter((_, index) => index % 2 === 0));
  });

  it('follows records that are stored, deleted, or moved by a correction of the clock', () => {
    let synced = false;
    state.store.timeCorrection.setSyncSource(() => synced);
    for (let n = 0; n < 20; n += 1)
      state.store.append(
        draft({
          clock: { synced: false, offset_ms: null },
          captured_at: new Date(START_MS + n).toISOString(),
          mono_ms: 1000,
        }),
        NO_FEATURES,
      );
    expect(differences()).toEqual([]);
    synced = true;
    state.clock.wallMs += 3_600_000;
    const clock = { bootId: 'boot-1', synced: true, stepped: true };
    expect(state.store.timeCorrection.correctTimestamps(clock).corrected).toBe(20);
    expect(state.store.observations.query({ limit: 1 }).observations[0]?.captured_at).toMatch(/T01:00/);
    expect(differences()).toEqual([]);
    state.clock.advance(31 * 86_400_000);
    while (state.store.prune().more);
    expect(state.store.observations.query({ limit: 1 }).observations).toEqual([]);
    expect(differences()).toEqual([]);
  });

  it('takes no longer with many records than with a few', () => {
    let stored = 0;
    const fill = (count: number): void => {
      state.store.close();
      const db = new Database(join(state.dir, 'swellsight.db'));
      const insert = db.prepare(
        `INSERT INTO observations (id, camera, seq, captured_at_ms, status, payload) VALUES (?, ?, ?, ?, 'measured', '{"wave":{"height_m":1}}')`,
      );
      db.transaction(() => {
        for (; stored < count; stored += 1)
          insert.run(`id-${stored}`, stored % 2 === 0 ? 'north' : 'south', stored, START_MS + stored);
      })();
      db.close();
      state.reopen();
    };
    const cursor = Buffer.from(`${START_MS + 100}:50`).toString('base64url');
    const range = { fromMs: START_MS + 20, toMs: START_MS + 90 };
    const queries: readonly Omit<ObservationQuery, 'limit'>[] = [
      ...([{}, { camera: 'north' }, { status: 'failed' }, { camera: 'north', status: 'failed' }] as const),
      ...[{ cursor }, { camera: 'north', cursor }, range, { ...range, status: 'measured' as const }],
    ];
    /** The shortest time of each query, ms: that of a run without a pause of the machine. */
    const times = (): number[] =>
      queries.map((query) => {
        const runs = Array.from({ length: 20 }, () => {
          const startedMs = performance.now();
          state.store.observations.query({ ...query, limit: 10 });
          return performance.now() - startedMs;
        });
        return Math.min(...runs);
      });
    fill(200);
    times();
    const few = times();
    fill(60_000);
    const many = times();
    // Reading one camera takes about 100 times as long as a page of ten records.
    for (const [index, time] of many.entries())
      expect(time, JSON.stringify(queries[index])).toBeLessThan(5 * Math.max(...few));
  });
});
