import { existsSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import Database from 'better-sqlite3';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { Store } from '../../src/store/store.ts';
import { draft, ManualClock, NOTHING_SEEN, openStore } from '../fixtures/store.ts';

const BOUND = 6;
const CAMERAS = ['north', 'south'] as const;

type Step =
  | { readonly do: 'append'; readonly camera: (typeof CAMERAS)[number] }
  | { readonly do: 'append_twice' | 'reopen' | 'age' | 'unknown' }
  | { readonly do: 'accept' | 'reject'; readonly pick: number };

const step: fc.Arbitrary<Step> = fc.oneof(
  {
    weight: 6,
    arbitrary: fc.record({ do: fc.constant('append' as const), camera: fc.constantFrom(...CAMERAS) }),
  },
  {
    weight: 4,
    arbitrary: fc.record({ do: fc.constantFrom('accept' as const, 'reject' as const), pick: fc.nat(9) }),
  },
  { weight: 2, arbitrary: fc.record({ do: fc.constantFrom('append_twice', 'reopen', 'age', 'unknown') }) },
);

/** What must be true, kept in the simplest way. */
class Model {
  queue: string[] = [];
  accepted: string[] = [];
  rejected: string[] = [];
  dropped = 0;
  seq: Record<string, number> = { north: 0, south: 0 };
}

// The real file, on memory where there is some: every step is a transaction that waits for its disk.
const root = existsSync('/dev/shm') ? '/dev/shm' : tmpdir();

const name = (entry: { stream: string; seq: number }): string => `${entry.stream}/${entry.seq}`;

describe('outbox against a model', () => {
  it('numbers by ones, gives every message exactly one fate, and keeps the order, whatever happens', () => {
    fc.assert(
      fc.property(fc.array(step, { minLength: 1, maxLength: 40 }), (steps) => {
        const dir = mkdtempSync(join(root, 'swellsight-'));
        const clock = new ManualClock();
        const open = (): Store => openStore(dir, clock, { outbox: { maxMessages: BOUND, maxAgeDays: 1 } });
        const state = { store: open() };
        const model = new Model();
        try {
          for (const each of steps) {
            run(each, state, model, clock, open);
            check(state.store, model);
          }
          state.store.close();
          checkRejected(dir, model);
        } finally {
          state.store.close();
          rmSync(dir, { recursive: true, force: true });
        }
      }),
      { numRuns: 120 },
    );
  });
});

function run(each: Step, state: { store: Store }, model: Model, clock: ManualClock, open: () => Store): void {
  switch (each.do) {
    case 'append': {
      const record = state.store.append(draft({ camera: each.camera }), NOTHING_SEEN);
      model.seq[each.camera] = (model.seq[each.camera] ?? 0) + 1;
      expect(record.seq).toBe(model.seq[each.camera]);
      model.queue.push(`camera:${each.camera}/${record.seq}`);
      break;
    }
    case 'append_twice': {
      // The second has the first one's id: it must leave no trace, not even a number.
      const record = draft({ camera: 'north' });
      state.store.append(record, NOTHING_SEEN);
      expect(() => state.store.append(record, NOTHING_SEEN)).toThrow();
      model.seq['north'] = (model.seq['north'] ?? 0) + 1;
      model.queue.push(`camera:north/${model.seq['north']}`);
      break;
    }
    case 'accept':
    case 'reject': {
      const records = state.store.outbox.next(20, new Set(), { streams: 'cameras' });
      const entry = records[each.pick % Math.max(1, records.length)];
      if (!entry) break;
      // Twice: an answer that comes again changes nothing.
      for (let n = 0; n < 2; n += 1)
        if (each.do === 'accept') state.store.outbox.accepted([entry.rowId], clock.nowMs());
        else state.store.outbox.rejected(entry.rowId, 'refused');
      model.queue = model.queue.filter((waiting) => waiting !== name(entry));
      (each.do === 'accept' ? model.accepted : model.rejected).push(name(entry));
      break;
    }
    case 'age':
      clock.advance(86_400_001);
      state.store.prune();
      model.dropped += model.queue.length;
      model.queue = [];
      break;
    case 'unknown':
      state.store.outbox.accepted([999_999], clock.nowMs());
      state.store.outbox.rejected(999_999, 'refused');
      break;
    case 'reopen':
      state.store.close();
      state.store = open();
      break;
  }
}

/** The store's own events share the queue and may push records out: they are told apart by their stream. */
function check(store: Store, model: Model): void {
  const entries = store.outbox.next(100, new Set());
  const waiting = entries.filter(({ stream }) => stream !== 'events').map(name);
  // Rows that the bound pushed out since the last look: they must be the oldest ones, and be counted.
  const pushedOut = model.queue.length - waiting.length;
  expect(pushedOut).toBeGreaterThanOrEqual(0);
  expect(waiting).toEqual(model.queue.slice(pushedOut));
  model.dropped += pushedOut;
  model.queue = waiting;
  const { depth, droppedTotal } = store.outbox.stats();
  expect(depth).toBe(entries.length);
  expect(depth).toBeLessThanOrEqual(BOUND);
  const events = store.events.recent(1000);
  const eventsWaiting = entries.filter(({ stream }) => stream === 'events').length;
  expect(droppedTotal).toBe(model.dropped + events.length - eventsWaiting);
  expect(events.map(({ seq }) => seq)).toEqual(events.map((_, n) => events.length - n));
  const total = model.accepted.length + model.rejected.length + model.dropped + model.queue.length;
  expect(total).toBe(Object.values(model.seq).reduce((sum, last) => sum + last, 0));
}

function checkRejected(dir: string, model: Model): void {
  const db = new Database(join(dir, 'swellsight.db'), { readonly: true });
  const rows = db.prepare<[], { stream: string; seq: number }>('SELECT stream, seq FROM rejected').all();
  db.close();
  expect(rows.map(name).toSorted()).toEqual(model.rejected.toSorted());
}
