import { statSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { Store } from '../../../src/store/store.ts';
import { draft, ManualClock, NOTHING_SEEN, openStore, seen, tempDir } from '../../fixtures/store.ts';

const DAY_MS = 86_400_000;

describe('Retention', () => {
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

  const at = (ms: number) => draft({ captured_at: new Date(ms).toISOString() });
  const kept = (): number => store.observations.query({ limit: 1000 }).observations.length;
  const pruneAll = (): void => {
    while (store.prune().more);
  };

  it('deletes what is older than the days, in rounds', () => {
    const records = Array.from({ length: 250 }, (_, n) => at(clock.nowMs() - n * DAY_MS));
    for (const record of records) store.append(record, NOTHING_SEEN);
    expect(store.prune()).toEqual({ deleted: 200, more: true });
    pruneAll();
    expect(kept()).toBe(31);
  });

  it('does not believe a leap that nothing confirms, for as long as that may be', () => {
    let synced = false;
    store.times.followClock(() => synced);
    store.append(at(clock.nowMs()), NOTHING_SEEN);
    store.prune();
    clock.wallMs += 400 * DAY_MS;
    for (let day = 0; day < 5; day += 1) {
      store.prune();
      clock.advance(DAY_MS);
    }
    expect(kept()).toBe(1);
    expect(store.outbox.stats().depth).toBe(1);
    // Confirmed: it is the truth that the record is old.
    synced = true;
    pruneAll();
    expect(kept()).toBe(0);
  });

  it('does not believe a clock that leapt ahead', () => {
    store.append(at(clock.nowMs()), NOTHING_SEEN);
    store.prune();
    clock.wallMs += 4000 * DAY_MS;
    store.prune();
    expect(kept()).toBe(1);
    clock.wallMs -= 4000 * DAY_MS;
    store.prune();
    clock.advance(31 * DAY_MS);
    store.prune();
    expect(kept()).toBe(0);
  });

  it('does not believe a start years later before the clock has run for a day', () => {
    store.append(at(clock.nowMs()), NOTHING_SEEN);
    store.prune();
    store.close();
    clock.wallMs += 4000 * DAY_MS;
    store = openStore(dir.path, clock);
    pruneAll();
    expect(kept()).toBe(1);
    expect(store.outbox.stats().depth).toBe(1);
    clock.advance(DAY_MS + 1);
    pruneAll();
    expect(kept()).toBe(0);
    expect(store.outbox.stats().depth).toBe(1); // the event that tells of the dropped record
  });

  it('keeps records made before the clock was set', () => {
    clock.wallMs = 5000;
    store.append(at(5000), NOTHING_SEEN);
    store.prune();
    clock.wallMs = Date.UTC(2026, 5, 1);
    clock.advance(2 * DAY_MS);
    pruneAll();
    expect(kept()).toBe(1);
    expect(store.outbox.stats()).toMatchObject({ depth: 1, oldestAgeS: 172_800 });
  });

  it('drops from the outbox by age, by the monotonic clock, and counts it', () => {
    store.append(at(clock.nowMs()), NOTHING_SEEN);
    clock.mono += 8 * DAY_MS;
    store.prune();
    expect(store.outbox.stats()).toMatchObject({ depth: 1, droppedTotal: 1 });
    expect(store.events.recent(1)[0]?.type).toBe('outbox_dropped');
  });

  it('gives space back to the disk when the bound is lowered', () => {
    for (let n = 0; n < 500; n += 1) store.append(at(clock.nowMs() + n), seen(new Array(1280).fill(0.1)));
    for (const { rowId } of store.outbox.next(500, new Set())) store.outbox.accepted([rowId], clock.nowMs());
    store.close();
    const sizeBytes = (): number => statSync(join(dir.path, 'swellsight.db')).size;
    expect(sizeBytes()).toBeGreaterThan(3 * 1_048_576);
    store = openStore(dir.path, clock, { maxMb: 1 });
    for (let n = 0; n < 20; n += 1) pruneAll();
    store.close();
    expect(sizeBytes()).toBeLessThanOrEqual(1.1 * 1_048_576);
    store = openStore(dir.path, clock);
    expect(kept()).toBeGreaterThan(0);
  });

  it('keeps the file within its bound, labelled bursts to the last', () => {
    store.close();
    store = openStore(dir.path, clock, { maxMb: 2 });
    const first = store.append(at(clock.nowMs()), seen(new Array(1280).fill(0.5)));
    store.labels.add({ observationId: first.id, heightM: 1, observer: null, note: null });
    for (let n = 0; n < 900; n += 1) {
      const { id } = store.append(at(clock.nowMs() + n), seen(new Array(1280).fill(0.1)));
      const queued = store.outbox.next(1, new Set());
      store.outbox.accepted([queued[0]!.rowId], clock.nowMs());
      if (n % 50 === 0) pruneAll();
      expect(id).toBeTruthy();
    }
    for (let n = 0; n < 20; n += 1) pruneAll();
    expect(statSync(join(dir.path, 'swellsight.db')).size).toBeLessThanOrEqual(2.5 * 1_048_576);
    expect(statSync(join(dir.path, 'swellsight.db-wal')).size).toBeLessThanOrEqual(8 * 1_048_576);
    expect(store.labels.bursts('north', 'trunk')).toHaveLength(1);
    expect(kept()).toBeGreaterThan(0);
  });
});
