import { closeSync, openSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { Store } from '../../../src/store/store.ts';
import { draft, ManualClock, NOTHING_SEEN, openStore, tempDir } from '../../fixtures/store.ts';

describe('StoreStats', () => {
  let dir: ReturnType<typeof tempDir>;
  let clock: ManualClock;
  let store: Store;

  beforeEach(() => {
    dir = tempDir();
    clock = new ManualClock();
    store = openStore(dir.path, clock);
  });
  afterEach(() => {
    store.close();
    dir.remove();
  });

  const append = (count: number, camera = 'north'): void => {
    for (let n = 0; n < count; n += 1) store.append(draft({ camera }), NOTHING_SEEN);
  };

  it('count rows and bytes, and look the file through', () => {
    append(3);
    store.commands.begin('a', 'ping');
    const { rows, databaseBytes, freeBytes, logBytes, integrity, integrityOf } = store.figures.read();
    expect(rows).toMatchObject({ observations: 3, events: 0, labels: 0, rejected: 0, commands: 1 });
    expect(databaseBytes).toBeGreaterThan(10_000);
    expect(freeBytes).toBeLessThan(databaseBytes);
    expect(logBytes).toBeGreaterThan(0);
    expect([integrity, integrityOf]).toEqual(['ok', 'file']);
  });

  it('see damage, and look again only after a while', () => {
    // More than SQLite keeps in memory.
    for (let n = 0; n < 300; n += 1) store.append(draft({ warnings: ['x'.repeat(8000)] }), NOTHING_SEEN);
    expect(store.figures.read().integrity).toBe('ok');
    store.close();
    store = openStore(dir.path, clock);
    const file = openSync(join(dir.path, 'swellsight.db'), 'r+');
    for (let page = 20; page < 300; page += 1)
      writeSync(file, Buffer.alloc(4096, 0x5a), 0, 4096, page * 4096);
    closeSync(file);
    const verdict = store.figures.read().integrity;
    expect(verdict).not.toBe('ok');
    expect(verdict.length).toBeLessThanOrEqual(200);
    expect(store.figures.read().integrity).toBe(verdict);
  });

  it('tell what was set aside, newest first', () => {
    append(3);
    for (const { rowId } of store.outbox.next(3, new Set())) {
      clock.advance(1000);
      store.outbox.rejected(rowId, 'mqtt_too_large: no');
    }
    const { count, newest } = store.figures.rejected(2);
    expect(count).toBe(3);
    expect(newest.map(({ seq, topic, reason }) => [seq, topic, reason])).toEqual([
      [3, 'camera/north/observation', 'mqtt_too_large: no'],
      [2, 'camera/north/observation', 'mqtt_too_large: no'],
    ]);
    expect(newest[0]?.rejectedAtMs).toBe(clock.nowMs());
    expect(newest[0]?.sizeBytes).toBeGreaterThan(500);
  });

  it('find the numbers that are neither stored nor waiting', () => {
    const old = new Date(clock.nowMs() - 40 * 86_400_000).toISOString();
    const gone = [1, 2, 5, 6, 12];
    for (let seq = 1; seq <= 12; seq += 1)
      store.append(
        draft(
          gone.includes(seq) ? { captured_at: old } : { captured_at: new Date(clock.nowMs()).toISOString() },
        ),
        NOTHING_SEEN,
      );
    append(3, 'south');
    expect(store.figures.gaps('north', 1, 12, 100)).toEqual([]);
    const sent = store.outbox
      .next(100, new Set())
      .filter(({ stream, seq }) => stream === 'camera:north' && seq !== 6);
    store.outbox.accepted(
      sent.map(({ rowId }) => rowId),
      clock.nowMs(),
    );
    while (store.prune().more);
    const gaps = (from: number, to: number, limit = 100) => store.figures.gaps('north', from, to, limit);
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
    // Numbers that were never given out are not gone.
    expect(gaps(12, 5000)).toEqual([[12, 12]]);
    expect(gaps(13, 5000)).toEqual([]);
    expect(store.figures.gaps('west', 1, 5, 100)).toEqual([]);
  });
});
