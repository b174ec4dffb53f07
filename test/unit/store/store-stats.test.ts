import { closeSync, openSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import Database from 'better-sqlite3';
import { describe, expect, it } from 'vitest';
import { acknowledge, draft, NO_FEATURES } from '../../fixtures/store.ts';
import { useStore } from '../../fixtures/use-store.ts';

describe('StoreStats', () => {
  const state = useStore();

  const append = (count: number, camera = 'north'): void => {
    for (let n = 0; n < count; n += 1) state.store.append(draft({ camera }), NO_FEATURES);
  };

  it('counts rows and bytes, and checks the file', () => {
    append(3);
    state.store.commands.begin('a', 'ping');
    const { rows, databaseBytes, freeBytes, logBytes, integrity, integrityOf } = state.store.stats.read();
    expect(rows).toMatchObject({ observations: 3, events: 0, labels: 0, rejected: 0, commands: 1 });
    expect(databaseBytes).toBeGreaterThan(10_000);
    expect(freeBytes).toBeLessThan(databaseBytes);
    expect(logBytes).toBeGreaterThan(0);
    expect([integrity, integrityOf]).toEqual(['ok', 'file']);
  });

  it('does not count the rows of a long history: their numbers bound them', () => {
    append(3);
    state.store.close();
    const db = new Database(join(state.dir, 'swellsight.db'));
    db.exec('UPDATE observations SET row_id = 5000000 WHERE row_id = 3');
    db.close();
    state.reopen();
    expect(state.store.stats.read().rows).toMatchObject({ observations: 5_000_000, events: 0 });
  });

  it('detects damage, and caches the result of the check', () => {
    // More pages than the cache of SQLite holds.
    for (let n = 0; n < 300; n += 1) state.store.append(draft({ warnings: ['x'.repeat(8000)] }), NO_FEATURES);
    expect(state.store.stats.read().integrity).toBe('ok');
    state.reopen();
    const file = openSync(join(state.dir, 'swellsight.db'), 'r+');
    for (let page = 20; page < 300; page += 1)
      writeSync(file, Buffer.alloc(4096, 0x5a), 0, 4096, page * 4096);
    closeSync(file);
    const verdict = state.store.stats.read().integrity;
    expect(verdict).not.toBe('ok');
    expect(verdict.length).toBeLessThanOrEqual(200);
    expect(state.store.stats.read().integrity).toBe(verdict);
  });

  it('lists rejected messages, newest first', () => {
    append(3);
    for (const { rowId } of state.store.outbox.next(3, new Set())) {
      state.clock.advance(1000);
      state.store.outbox.reject(rowId, 'mqtt_too_large: no');
    }
    const { count, newest } = state.store.stats.rejected(2);
    expect(count).toBe(3);
    expect(newest.map(({ seq, topic, reason }) => [seq, topic, reason])).toEqual([
      [3, 'camera/north/observation', 'mqtt_too_large: no'],
      [2, 'camera/north/observation', 'mqtt_too_large: no'],
    ]);
    expect(newest[0]?.rejectedAtMs).toBe(state.clock.nowMs());
    expect(newest[0]?.sizeBytes).toBeGreaterThan(500);
  });

  it('finds the numbers that are neither stored nor in the outbox', () => {
    const longAgo = new Date(state.clock.nowMs() - 40 * 86_400_000).toISOString();
    const oldSeqs = [1, 2, 5, 6, 12];
    for (let seq = 1; seq <= 12; seq += 1)
      state.store.append(
        draft(
          oldSeqs.includes(seq)
            ? { captured_at: longAgo }
            : { captured_at: new Date(state.clock.nowMs()).toISOString() },
        ),
        NO_FEATURES,
      );
    append(3, 'south');
    expect(state.store.stats.gaps('north', 1, 12, 100)).toEqual([]);
    const sent = state.store.outbox
      .next(100, new Set())
      .filter(({ stream, seq }) => stream === 'camera:north' && seq !== 6);
    acknowledge(state.store.outbox, sent, state.clock.nowMs());
    while (state.store.prune().more);
    const gaps = (from: number, to: number, limit = 100) => state.store.stats.gaps('north', from, to, limit);
    expect(gaps(1, 12)).toEqual([
      [1, 2],
      [5, 5],
      [12, 12],
    ]);
    expect(gaps(2, 5)).toEqual([
      [2, 2],
      [5, 5],
    ]);
    expect(gaps(1, 12, 2)).toHaveLength(2);
    expect(gaps(6, 11)).toEqual([]);
    // Numbers above the newest record are not gaps.
    expect(gaps(12, 5000)).toEqual([[12, 12]]);
    expect(gaps(13, 5000)).toEqual([]);
    expect(state.store.stats.gaps('west', 1, 5, 100)).toEqual([]);
  });
});
