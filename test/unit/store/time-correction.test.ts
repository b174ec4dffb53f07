import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { Observation } from '../../../src/contract/observation.ts';
import type { Store } from '../../../src/store/store.ts';
import type { ClockMoment, MendOutcome } from '../../../src/store/time-correction.ts';
import type { OutboxEntry } from '../../../src/store/types.ts';
import { draft, ManualClock, openStore, seen, tempDir } from '../../fixtures/store.ts';

const DAY_MS = 86_400_000;
const TRUE_MS = Date.UTC(2026, 5, 1, 12);
const NONE = new Set<number>();

describe('times of what was recorded before the clock was set', () => {
  let dir: ReturnType<typeof tempDir>;
  let clock: ManualClock;
  let store: Store;
  let synced: boolean;

  const open = (boot = 'boot-1'): void => {
    store = openStore(dir.path, clock, { bootId: boot });
    store.times.followClock(() => synced);
  };
  beforeEach(() => {
    dir = tempDir();
    // A board without a battery: its clock begins with the date of its image.
    clock = new ManualClock(Date.UTC(2025, 0, 1));
    synced = false;
    open();
  });
  afterEach(() => {
    store.close();
    dir.remove();
  });

  /** A record of this moment. */
  const record = (boot = 'boot-1', over: Parameters<typeof draft>[0] = {}): Observation =>
    store.append(
      draft({
        captured_at: new Date(clock.nowMs()).toISOString(),
        mono_ms: clock.monoMs(),
        boot_id: boot,
        clock: { synced, offset_ms: synced ? 0 : null },
        ...over,
      }),
      seen([1, 2]),
    );
  const mend = (moment: Partial<ClockMoment> = {}): Omit<MendOutcome, 'more'> => {
    let corrected = 0;
    let uncertain = 0;
    for (let more = true; more;) {
      const outcome = store.times.mend({ bootId: 'boot-1', synced, stepped: false, ...moment });
      corrected += outcome.corrected;
      uncertain += outcome.uncertain;
      more = outcome.more;
    }
    return { corrected, uncertain };
  };
  const setClock = (wallMs: number): void => {
    clock.wallMs = wallMs;
  };
  const queued = (): (Observation & { at?: string })[] =>
    store.outbox
      .next(10_000, NONE)
      .map(({ payload }: OutboxEntry) => JSON.parse(payload) as Observation & { at?: string });
  const stored = (id: string): Observation => store.observations.find(id)!;

  it('mends what was only looked at', () => {
    record();
    expect(store.outbox.peek(5)).toHaveLength(1);
    setClock(TRUE_MS);
    synced = true;
    expect(mend({ stepped: true })).toEqual({ corrected: 1, uncertain: 0 });
  });

  it('moves unsent records by the step of the first synchronisation, and each says so; numbers and ids stay', () => {
    const first = record();
    clock.advance(60_000);
    const second = record('boot-1', { warnings: ['partial_burst'] });
    clock.advance(5_000);
    setClock(TRUE_MS);
    synced = true;
    expect(mend()).toEqual({ corrected: 2, uncertain: 0 });
    const waiting = queued();
    expect(waiting.map(({ captured_at }) => captured_at)).toEqual([
      new Date(TRUE_MS - 65_000).toISOString(),
      new Date(TRUE_MS - 5_000).toISOString(),
    ]);
    expect(waiting.map(({ warnings }) => warnings)).toEqual([
      ['time_corrected'],
      ['partial_burst', 'time_corrected'],
    ]);
    expect(waiting.map(({ id, seq, clock: read }) => [id, seq, read.synced])).toEqual([
      [first.id, 1, false],
      [second.id, 2, false],
    ]);
    // The history has the same text, and its place in time.
    expect(waiting).toEqual([stored(first.id), stored(second.id)]);
    const page = store.observations.query({ fromMs: TRUE_MS - 10_000, toMs: TRUE_MS, limit: 10 });
    expect(page.observations.map(({ id }) => id)).toEqual([second.id]);
    // A second look changes nothing.
    const before = store.outbox.next(10, NONE);
    expect(mend()).toEqual({ corrected: 0, uncertain: 0 });
    expect(store.outbox.next(10, NONE)).toEqual(before);
  });

  it('leaves what was handed out as it is, through a restart too; only its place in the history moves', () => {
    const [sent, waiting] = [record(), record()];
    const [entry] = store.outbox.next(1, NONE);
    store.close();
    open();
    setClock(TRUE_MS);
    synced = true;
    mend();
    const [again] = store.outbox.next(1, NONE);
    expect(again!.payload).toBe(entry!.payload);
    expect(stored(sent.id).captured_at).toBe(sent.captured_at);
    expect(
      store.observations.query({ fromMs: TRUE_MS - DAY_MS, limit: 10 }).observations.map(({ id }) => id),
    ).toContain(sent.id);
    // The second was marked together with the first: a long queue is marked in blocks.
    expect(stored(waiting.id).warnings).toEqual([]);
  });

  it('marks blocks of a long queue, the rest of which is still mended', () => {
    const ids = Array.from({ length: 500 }, () => record().id);
    store.outbox.next(20, NONE);
    setClock(TRUE_MS);
    synced = true;
    const { corrected } = mend();
    expect(corrected).toBeGreaterThanOrEqual(400);
    expect(corrected).toBeLessThanOrEqual(480);
    const corrections = ids.map((id) => stored(id).warnings.includes('time_corrected'));
    // All that may have been sent lies before all that was not.
    expect(corrections.indexOf(true)).toBe(500 - corrected);
    expect(corrections.lastIndexOf(false)).toBe(499 - corrected);
    expect(queued().map(({ seq }) => seq)).toEqual(ids.map((_, index) => index + 1));
  });

  it('marks what an earlier boot left, for nothing tells how wrong its clock was, and drops none of it for its age', () => {
    const old = record();
    store.close();
    // Power cut: the clock begins anew.
    clock.mono = 500;
    setClock(Date.UTC(2025, 0, 1));
    open('boot-2');
    expect(mend({ bootId: 'boot-2' })).toEqual({ corrected: 0, uncertain: 1 });
    const fresh = record('boot-2');
    setClock(TRUE_MS);
    synced = true;
    expect(mend({ bootId: 'boot-2' })).toEqual({ corrected: 1, uncertain: 0 });
    expect(queued().map(({ captured_at, warnings }) => [captured_at, warnings])).toEqual([
      [old.captured_at, ['time_uncertain']],
      [new Date(TRUE_MS).toISOString(), ['time_corrected']],
    ]);
    expect(stored(fresh.id).clock.synced).toBe(false);
    store.prune();
    clock.advance(2 * DAY_MS);
    store.prune();
    expect(store.outbox.stats()).toMatchObject({ depth: 2, droppedTotal: 0 });
  });

  it('mends what an earlier run of the same boot left, and an earlier boot that had been set', () => {
    record();
    store.close();
    open();
    setClock(TRUE_MS);
    synced = true;
    // The first look of the new run finds the clock set already.
    expect(mend()).toEqual({ corrected: 1, uncertain: 0 });
    // Synchronisation is lost later, as the kernel says after some hours; the clock is still right.
    synced = false;
    clock.advance(3_600_000);
    const late = record();
    store.close();
    clock.mono = 500;
    setClock(Date.UTC(2025, 0, 1));
    open('boot-2');
    expect(mend({ bootId: 'boot-2' })).toEqual({ corrected: 0, uncertain: 0 });
    expect(stored(late.id).warnings).toEqual([]);
  });

  it('follows a clock that is set by hand, and the synchronisation after it', () => {
    const { id } = record();
    const madeMono = clock.monoMs();
    clock.advance(60_000);
    setClock(TRUE_MS + 400 * DAY_MS);
    expect(mend({ stepped: true })).toEqual({ corrected: 1, uncertain: 0 });
    expect(stored(id).captured_at).toBe(new Date(TRUE_MS + 400 * DAY_MS - 60_000).toISOString());
    clock.advance(60_000);
    setClock(TRUE_MS);
    synced = true;
    expect(mend()).toEqual({ corrected: 1, uncertain: 0 });
    const atMs = TRUE_MS - (clock.monoMs() - madeMono);
    expect(stored(id).captured_at).toBe(new Date(atMs).toISOString());
    expect(stored(id).warnings).toEqual(['time_corrected']);
  });

  it('knows a burst that began before the step from one that began after it', () => {
    const began = { captured_at: new Date(clock.nowMs()).toISOString(), mono_ms: clock.monoMs() };
    clock.advance(4_000);
    setClock(TRUE_MS);
    const straddling = record('boot-1', began);
    const after = record();
    clock.advance(1_000);
    synced = true;
    expect(mend()).toEqual({ corrected: 1, uncertain: 0 });
    expect(stored(straddling.id).captured_at).toBe(new Date(TRUE_MS - 4_000).toISOString());
    expect(stored(after.id).captured_at).toBe(new Date(TRUE_MS).toISOString());
  });

  it('takes time asleep for no step', () => {
    const before = record();
    const madeMono = clock.monoMs();
    clock.advance(10_000);
    // An hour asleep: the wall clock went on.
    clock.wallMs += 3_600_000;
    const after = record();
    store.times.slept(3_600_000, 'boot-1');
    clock.wallMs += 100 * DAY_MS;
    synced = true;
    expect(mend()).toEqual({ corrected: 2, uncertain: 0 });
    const nowMs = clock.nowMs();
    expect(stored(before.id).captured_at).toBe(
      new Date(nowMs - 3_600_000 - (clock.monoMs() - madeMono)).toISOString(),
    );
    expect(stored(after.id).captured_at).toBe(new Date(nowMs).toISOString());
  });

  it('leaves records alone that need nothing: made with a set clock, or by one that was right', () => {
    const fine = record();
    synced = true;
    const trusted = record();
    expect(mend()).toEqual({ corrected: 0, uncertain: 0 });
    expect(queued()).toEqual([fine, trusted]);
    setClock(TRUE_MS);
    expect(mend({ stepped: true })).toEqual({ corrected: 0, uncertain: 0 });
    expect(queued()).toEqual([fine, trusted]);
  });

  it('moves the times of events too', () => {
    store.raise({ type: 'x', severity: 'info', code: 'x', message: '', context: { n: 1 } });
    setClock(TRUE_MS);
    synced = true;
    expect(mend()).toEqual({ corrected: 1, uncertain: 0 });
    const [event] = store.events.recent(1);
    expect(event).toMatchObject({
      seq: 1,
      at: new Date(TRUE_MS).toISOString(),
      context: { n: 1, time_corrected: true },
    });
    expect(queued()).toEqual([event]);
  });

  it('keeps the history that a wrong clock made old, sent or not', () => {
    const { id } = record();
    const [entry] = store.outbox.next(1, NONE);
    store.outbox.accepted([entry!.rowId], clock.nowMs());
    setClock(TRUE_MS);
    synced = true;
    mend();
    store.prune();
    clock.advance(2 * DAY_MS);
    store.prune();
    expect(stored(id).captured_at).toBe('2025-01-01T00:00:00.000Z');
    expect(store.times.mend({ bootId: 'boot-1', synced, stepped: false })).toMatchObject({ more: false });
  });

  it('mends a long queue in short batches', () => {
    for (let n = 0; n < 450; n += 1) record();
    setClock(TRUE_MS);
    synced = true;
    const outcomes = Array.from({ length: 3 }, () =>
      store.times.mend({ bootId: 'boot-1', synced, stepped: false }),
    );
    expect(outcomes.map(({ corrected, more }) => [corrected, more])).toEqual([
      [200, true],
      [200, true],
      [50, false],
    ]);
  });
});
