import { readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import Database from 'better-sqlite3';
import { describe, expect, it } from 'vitest';
import { acknowledge, burstFeatures, draft, NO_FEATURES } from '../../fixtures/store.ts';
import { useStore } from '../../fixtures/use-store.ts';

const DAY_MS = 86_400_000;

describe('Retention', () => {
  const state = useStore();

  const at = (ms: number) => draft({ captured_at: new Date(ms).toISOString() });
  const kept = (): number => state.store.observations.query({ limit: 1000 }).observations.length;
  /** An embedding that cannot be compressed much. */
  const embedding = (n: number) =>
    burstFeatures(Array.from({ length: 1280 }, (_, index) => Math.sin(index * (n + 1))));
  const pruneAll = (): void => {
    while (state.store.prune().more);
  };

  it('deletes records older than the retention time, in rounds', () => {
    const records = Array.from({ length: 250 }, (_, n) => at(state.clock.nowMs() - n * DAY_MS));
    for (const record of records) state.store.append(record, NO_FEATURES);
    expect(state.store.prune()).toEqual({ deleted: 200, more: true });
    // A round of its own for the write-ahead log.
    expect(state.store.prune()).toEqual({ deleted: 0, more: true });
    expect(state.store.prune().deleted).toBeGreaterThan(0);
    pruneAll();
    expect(kept()).toBe(31);
  });

  it('deletes few rows in one transaction, and starts no further one after 5 ms', () => {
    for (let n = 0; n < 100; n += 1) state.store.append(at(state.clock.nowMs() - 90 * DAY_MS), NO_FEATURES);
    // Each look at the clock takes 1 ms, so that there is time for one or two transactions.
    state.clock.monoMs = () => (state.clock.mono += 1);
    const { deleted, more } = state.store.prune();
    expect(more).toBe(true);
    expect(deleted).toBeGreaterThan(0);
    expect(deleted).toBeLessThan(50);
  });

  it('does not trust a leap of the clock until the clock is synchronized', () => {
    let synced = false;
    state.store.timeCorrection.setSyncSource(() => synced);
    state.store.append(at(state.clock.nowMs()), NO_FEATURES);
    state.store.prune();
    state.clock.wallMs += 400 * DAY_MS;
    for (let day = 0; day < 5; day += 1) {
      state.store.prune();
      state.clock.advance(DAY_MS);
    }
    expect(kept()).toBe(1);
    expect(state.store.outbox.stats().depth).toBe(1);
    // The synchronization confirms that the record is old.
    synced = true;
    pruneAll();
    expect(kept()).toBe(0);
  });

  it('does not trust a clock that leapt forward', () => {
    state.store.append(at(state.clock.nowMs()), NO_FEATURES);
    state.store.prune();
    state.clock.wallMs += 4000 * DAY_MS;
    state.store.prune();
    expect(kept()).toBe(1);
    state.clock.wallMs -= 4000 * DAY_MS;
    state.store.prune();
    state.clock.advance(31 * DAY_MS);
    state.store.prune();
    expect(kept()).toBe(0);
  });

  it('does not trust a start years later before the clock has run for a day', () => {
    state.store.append(at(state.clock.nowMs()), NO_FEATURES);
    state.store.prune();
    state.store.close();
    state.clock.wallMs += 4000 * DAY_MS;
    state.reopen();
    pruneAll();
    expect(kept()).toBe(1);
    expect(state.store.outbox.stats().depth).toBe(1);
    state.clock.advance(DAY_MS + 1);
    pruneAll();
    expect(kept()).toBe(0);
    expect(state.store.outbox.stats().depth).toBe(1); // the event `outbox_dropped`
  });

  it('keeps records that were made before the clock was set', () => {
    state.clock.wallMs = 5000;
    state.store.append(at(5000), NO_FEATURES);
    state.store.prune();
    state.clock.wallMs = Date.UTC(2026, 5, 1);
    state.clock.advance(2 * DAY_MS);
    pruneAll();
    expect(kept()).toBe(1);
    expect(state.store.outbox.stats()).toMatchObject({ depth: 1, oldestAgeS: 172_800 });
  });

  it('drops messages from the outbox by age on the monotonic clock, and counts them', () => {
    state.store.append(at(state.clock.nowMs()), NO_FEATURES);
    state.clock.mono += 8 * DAY_MS;
    state.store.prune();
    expect(state.store.outbox.stats()).toMatchObject({ depth: 1, droppedTotal: 1 });
    expect(state.store.events.recent(1)[0]?.type).toBe('outbox_dropped');
  });

  it('deletes records when the bound is lowered, and the documented line makes the file smaller', () => {
    for (let n = 0; n < 500; n += 1) state.store.append(at(state.clock.nowMs() + n), embedding(n));
    for (const entry of state.store.outbox.next(500, new Set()))
      acknowledge(state.store.outbox, [entry], state.clock.nowMs());
    state.store.close();
    const path = join(state.dir, 'swellsight.db');
    expect(statSync(path).size).toBeGreaterThan(1.5 * 1_048_576);
    state.reopen({ maxMb: 1 });
    for (let n = 0; n < 20; n += 1) pruneAll();
    const { databaseBytes, freeBytes } = state.store.stats.read();
    expect(databaseBytes - freeBytes).toBeLessThanOrEqual(1_048_576);
    const [before, { id }] = [kept(), state.store];
    expect(before).toBeGreaterThan(0);
    state.store.close();
    const doc = readFileSync(new URL('../../../docs/reliability.md', import.meta.url), 'utf8');
    const [, sql = ''] = /sqlite3 \/var\/lib\/swellsight\/swellsight\.db '(.+)'/.exec(doc) ?? [];
    const pageBytes = (script: string): unknown => {
      const db = new Database(path);
      db.exec(script);
      const bytes: unknown = db.pragma('page_size', { simple: true });
      db.close();
      return bytes;
    };
    // An earlier version created it.
    const earlier = sql.replace('page_size = 512', 'page_size = 4096').replace('NONE', 'INCREMENTAL');
    expect([pageBytes(earlier), pageBytes(sql)]).toEqual([4096, 512]);
    expect(statSync(path).size).toBeLessThanOrEqual(1.1 * 1_048_576);
    state.reopen();
    expect([kept(), state.store.id]).toEqual([before, id]);
  });

  it('keeps the file within its bound, and deletes no labelled burst', () => {
    state.reopen({ maxMb: 2 });
    const first = state.store.append(at(state.clock.nowMs()), burstFeatures(new Array(1280).fill(0.5)));
    state.store.labels.add({ observationId: first.id, heightM: 1, observer: null, note: null });
    for (let n = 0; n < 900; n += 1) {
      const { id } = state.store.append(at(state.clock.nowMs() + n), embedding(n));
      const queued = state.store.outbox.next(1, new Set());
      acknowledge(state.store.outbox, queued, state.clock.nowMs());
      if (n % 50 === 0) pruneAll();
      expect(id).toBeTruthy();
    }
    for (let n = 0; n < 20; n += 1) pruneAll();
    expect(statSync(join(state.dir, 'swellsight.db')).size).toBeLessThanOrEqual(2.5 * 1_048_576);
    expect(statSync(join(state.dir, 'swellsight.db-wal')).size).toBeLessThanOrEqual(8 * 1_048_576);
    expect(state.store.labels.bursts('north', 'trunk')).toHaveLength(1);
    expect(kept()).toBeGreaterThan(0);
  });
});
