import { join } from 'node:path';
import Database from 'better-sqlite3';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { Store } from '../../src/store/store.ts';
import {
  acknowledge,
  draft,
  ManualClock,
  memoryDir,
  NO_FEATURES,
  openStore,
  seaStateDraft,
} from '../fixtures/store.ts';

const MAX_MESSAGES = 6;
/** Each has numbers of its own. */
const SERIES = ['north', 'south', 'north/sea_state'] as const;

type Step =
  | { readonly do: 'append'; readonly series: (typeof SERIES)[number] }
  | { readonly do: 'append_twice' | 'reopen' | 'age' | 'unknown' }
  | { readonly do: 'acknowledge' | 'reject'; readonly pick: number };

const step: fc.Arbitrary<Step> = fc.oneof(
  {
    weight: 6,
    arbitrary: fc.record({ do: fc.constant('append' as const), series: fc.constantFrom(...SERIES) }),
  },
  {
    weight: 4,
    arbitrary: fc.record({ do: fc.constantFrom('acknowledge' as const, 'reject' as const), pick: fc.nat(9) }),
  },
  { weight: 2, arbitrary: fc.record({ do: fc.constantFrom('append_twice', 'reopen', 'age', 'unknown') }) },
);

/** The expected state, in its simplest form. */
class Model {
  queue: string[] = [];
  acknowledged: string[] = [];
  rejected: string[] = [];
  dropped = 0;
  seq: Record<string, number> = { north: 0, south: 0, 'north/sea_state': 0 };
}

const nameOf = (entry: { stream: string; seq: number }): string => `${entry.stream}/${entry.seq}`;

describe('the outbox compared with a model', () => {
  it('numbers without gaps, ends each message in exactly one way, and keeps the order, for any steps', () => {
    fc.assert(
      fc.property(fc.array(step, { minLength: 1, maxLength: 40 }), (steps) => {
        const dir = memoryDir();
        const clock = new ManualClock();
        const open = (): Store =>
          openStore(dir.path, clock, { outbox: { maxMessages: MAX_MESSAGES, maxAgeDays: 1 } });
        const state = { store: open() };
        const model = new Model();
        try {
          for (const each of steps) {
            runStep(each, state, model, clock, open);
            compare(state.store, model);
          }
          state.store.close();
          compareRejected(dir.path, model);
        } finally {
          state.store.close();
          dir.remove();
        }
      }),
      { numRuns: 120 },
    );
  });
});

function runStep(
  each: Step,
  state: { store: Store },
  model: Model,
  clock: ManualClock,
  open: () => Store,
): void {
  const { outbox } = state.store;
  switch (each.do) {
    case 'append': {
      const { series } = each;
      const record =
        series === 'north/sea_state'
          ? state.store.appendSeaState(seaStateDraft({ camera: 'north' }))
          : state.store.append(draft({ camera: series }), NO_FEATURES);
      model.seq[series] = (model.seq[series] ?? 0) + 1;
      expect(record.seq).toBe(model.seq[series]);
      model.queue.push(`camera:${series}/${record.seq}`);
      break;
    }
    case 'append_twice': {
      // The second record has the id of the first: it must leave no trace, and use no number.
      const record = draft({ camera: 'north' });
      state.store.append(record, NO_FEATURES);
      expect(() => state.store.append(record, NO_FEATURES)).toThrow();
      model.seq['north'] = (model.seq['north'] ?? 0) + 1;
      model.queue.push(`camera:north/${model.seq['north']}`);
      break;
    }
    case 'acknowledge':
    case 'reject': {
      const records = outbox.next(20, new Set(), { streams: 'cameras' });
      const entry = records[each.pick % Math.max(1, records.length)];
      if (!entry) break;
      // A repeated reply of the broker changes nothing.
      for (let n = 0; n < 2; n += 1)
        if (each.do === 'acknowledge') acknowledge(outbox, [entry], clock.nowMs());
        else outbox.reject(entry.rowId, 'refused');
      model.queue = model.queue.filter((waiting) => waiting !== nameOf(entry));
      (each.do === 'acknowledge' ? model.acknowledged : model.rejected).push(nameOf(entry));
      break;
    }
    case 'age':
      clock.advance(86_400_001);
      state.store.prune();
      model.dropped += model.queue.length;
      model.queue = [];
      break;
    case 'unknown':
      acknowledge(outbox, [{ rowId: 999_999, stream: 'camera:north', seq: 1 }], clock.nowMs());
      outbox.reject(999_999, 'refused');
      break;
    case 'reopen':
      state.store.close();
      state.store = open();
      break;
  }
}

/** The store's own events share the outbox and may cause drops. Their stream distinguishes them from records. */
function compare(store: Store, model: Model): void {
  const entries = store.outbox.next(100, new Set());
  const waiting = entries.filter(({ stream }) => stream !== 'events').map(nameOf);
  // Rows that the bound dropped since the last comparison must be the oldest ones, and must be counted.
  const dropped = model.queue.length - waiting.length;
  expect(dropped).toBeGreaterThanOrEqual(0);
  expect(waiting).toEqual(model.queue.slice(dropped));
  model.dropped += dropped;
  model.queue = waiting;
  const { depth, droppedTotal } = store.outbox.stats();
  expect(depth).toBe(entries.length);
  expect(depth).toBeLessThanOrEqual(MAX_MESSAGES);
  const events = store.events.recent(1000);
  const eventsWaiting = entries.filter(({ stream }) => stream === 'events').length;
  expect(droppedTotal).toBe(model.dropped + events.length - eventsWaiting);
  expect(events.map(({ seq }) => seq)).toEqual(events.map((_, n) => events.length - n));
  const total = model.acknowledged.length + model.rejected.length + model.dropped + model.queue.length;
  expect(total).toBe(Object.values(model.seq).reduce((sum, last) => sum + last, 0));
}

function compareRejected(dir: string, model: Model): void {
  const db = new Database(join(dir, 'swellsight.db'), { readonly: true });
  const rows = db.prepare<[], { stream: string; seq: number }>('SELECT stream, seq FROM rejected').all();
  db.close();
  expect(rows.map(nameOf).toSorted()).toEqual(model.rejected.toSorted());
}
