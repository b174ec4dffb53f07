import { beforeEach, describe, expect, it } from 'vitest';
import type { Observation } from '../../../src/contract/observation.ts';
import type { ClockMoment, CorrectionResult } from '../../../src/store/types.ts';
import type { OutboxEntry } from '../../../src/store/types.ts';
import { acknowledge, burstFeatures, draft } from '../../fixtures/store.ts';
import { useStore } from '../../fixtures/use-store.ts';

const DAY_MS = 86_400_000;
const IMAGE_DATE_MS = Date.UTC(2025, 0, 1);
const TRUE_MS = Date.UTC(2026, 5, 1, 12);
const NONE = new Set<number>();

describe('TimeCorrection', () => {
  // A board without a battery starts with the date of its image.
  const state = useStore({ bootId: 'boot-1' }, { startMs: IMAGE_DATE_MS });
  let synced: boolean;

  beforeEach(() => {
    synced = false;
    state.store.timeCorrection.setSyncSource(() => synced);
  });
  const reopen = (bootId = 'boot-1'): void => {
    state.reopen({ bootId }).timeCorrection.setSyncSource(() => synced);
  };

  /** Stores a record with the current time. */
  const record = (boot = 'boot-1', over: Parameters<typeof draft>[0] = {}): Observation =>
    state.store.append(
      draft({
        captured_at: new Date(state.clock.nowMs()).toISOString(),
        mono_ms: state.clock.monoMs(),
        boot_id: boot,
        clock: { synced, offset_ms: synced ? 0 : null },
        ...over,
      }),
      burstFeatures([1, 2]),
    );
  const correct = (clockState: Partial<ClockMoment> = {}): Omit<CorrectionResult, 'more'> => {
    let corrected = 0;
    let uncertain = 0;
    for (let more = true; more;) {
      const outcome = state.store.timeCorrection.correctTimestamps({
        bootId: 'boot-1',
        synced,
        stepped: false,
        ...clockState,
      });
      corrected += outcome.corrected;
      uncertain += outcome.uncertain;
      more = outcome.more;
    }
    return { corrected, uncertain };
  };
  /** A power cut: both clocks start again. */
  const rebootWithWrongClock = (): void => {
    state.store.close();
    state.clock.mono = 500;
    setClock(IMAGE_DATE_MS);
    reopen('boot-2');
  };
  const setClock = (wallMs: number): void => {
    state.clock.wallMs = wallMs;
  };
  const queued = (): (Observation & { at?: string })[] =>
    state.store.outbox
      .next(10_000, NONE)
      .map(({ payload }: OutboxEntry) => JSON.parse(payload) as Observation & { at?: string });
  const stored = (id: string): Observation => state.store.observations.find(id)!;

  it('corrects a message that was only displayed', () => {
    record();
    expect(state.store.outbox.peek(5)).toHaveLength(1);
    setClock(TRUE_MS);
    synced = true;
    expect(correct({ stepped: true })).toEqual({ corrected: 1, uncertain: 0 });
  });

  it('moves unsent records by the step of the first synchronization and marks them; numbers and ids stay', () => {
    const first = record();
    state.clock.advance(60_000);
    const second = record('boot-1', { warnings: ['partial_burst'] });
    state.clock.advance(5_000);
    setClock(TRUE_MS);
    synced = true;
    expect(correct()).toEqual({ corrected: 2, uncertain: 0 });
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
    // The history has the same payload, at the corrected time.
    expect(waiting).toEqual([stored(first.id), stored(second.id)]);
    const page = state.store.observations.query({ fromMs: TRUE_MS - 10_000, toMs: TRUE_MS, limit: 10 });
    expect(page.observations.map(({ id }) => id)).toEqual([second.id]);
    // A second correction changes nothing.
    const before = state.store.outbox.next(10, NONE);
    expect(correct()).toEqual({ corrected: 0, uncertain: 0 });
    expect(state.store.outbox.next(10, NONE)).toEqual(before);
  });

  it('does not change a record that was handed out, also after a restart, and moves it in the history', () => {
    const [sent, waiting] = [record(), record()];
    const [entry] = state.store.outbox.next(1, NONE);
    reopen();
    setClock(TRUE_MS);
    synced = true;
    correct();
    const [again] = state.store.outbox.next(1, NONE);
    expect(again!.payload).toBe(entry!.payload);
    expect(stored(sent.id).captured_at).toBe(sent.captured_at);
    expect(
      state.store.observations
        .query({ fromMs: TRUE_MS - DAY_MS, limit: 10 })
        .observations.map(({ id }) => id),
    ).toContain(sent.id);
    // The second record was marked together with the first: rows are marked in blocks.
    expect(stored(waiting.id).warnings).toEqual([]);
  });

  it('marks blocks of a long queue, and corrects the rest of it', () => {
    const ids = Array.from({ length: 500 }, () => record().id);
    state.store.outbox.next(20, NONE);
    setClock(TRUE_MS);
    synced = true;
    const { corrected } = correct();
    expect(corrected).toBeGreaterThanOrEqual(400);
    expect(corrected).toBeLessThanOrEqual(480);
    const corrections = ids.map((id) => stored(id).warnings.includes('time_corrected'));
    // Records that may have been published come before all corrected ones.
    expect(corrections.indexOf(true)).toBe(500 - corrected);
    expect(corrections.lastIndexOf(false)).toBe(499 - corrected);
    expect(queued().map(({ seq }) => seq)).toEqual(ids.map((_, index) => index + 1));
  });

  it('marks records of an earlier boot as uncertain, and drops none of them for their age', () => {
    const old = record();
    rebootWithWrongClock();
    expect(correct({ bootId: 'boot-2' })).toEqual({ corrected: 0, uncertain: 1 });
    const fresh = record('boot-2');
    setClock(TRUE_MS);
    synced = true;
    expect(correct({ bootId: 'boot-2' })).toEqual({ corrected: 1, uncertain: 0 });
    expect(queued().map(({ captured_at, warnings }) => [captured_at, warnings])).toEqual([
      [old.captured_at, ['time_uncertain']],
      [new Date(TRUE_MS).toISOString(), ['time_corrected']],
    ]);
    expect(stored(fresh.id).clock.synced).toBe(false);
    state.store.prune();
    state.clock.advance(2 * DAY_MS);
    state.store.prune();
    expect(state.store.outbox.stats()).toMatchObject({ depth: 2, droppedTotal: 0 });
  });

  it('corrects records of an earlier run of the same boot, and trusts an earlier boot that was synchronized', () => {
    record();
    reopen();
    setClock(TRUE_MS);
    synced = true;
    // At its start, the new run finds a synchronized clock.
    expect(correct()).toEqual({ corrected: 1, uncertain: 0 });
    // The kernel reports a lost synchronization after some hours; the clock is still right.
    synced = false;
    state.clock.advance(3_600_000);
    const late = record();
    rebootWithWrongClock();
    expect(correct({ bootId: 'boot-2' })).toEqual({ corrected: 0, uncertain: 0 });
    expect(stored(late.id).warnings).toEqual([]);
  });

  it('follows a clock that is set by hand, and a later synchronization', () => {
    const { id } = record();
    const madeMono = state.clock.monoMs();
    state.clock.advance(60_000);
    setClock(TRUE_MS + 400 * DAY_MS);
    expect(correct({ stepped: true })).toEqual({ corrected: 1, uncertain: 0 });
    expect(stored(id).captured_at).toBe(new Date(TRUE_MS + 400 * DAY_MS - 60_000).toISOString());
    state.clock.advance(60_000);
    setClock(TRUE_MS);
    synced = true;
    expect(correct()).toEqual({ corrected: 1, uncertain: 0 });
    const atMs = TRUE_MS - (state.clock.monoMs() - madeMono);
    expect(stored(id).captured_at).toBe(new Date(atMs).toISOString());
    expect(stored(id).warnings).toEqual(['time_corrected']);
  });

  it('distinguishes a burst that began before the step from one that began after it', () => {
    const began = { captured_at: new Date(state.clock.nowMs()).toISOString(), mono_ms: state.clock.monoMs() };
    state.clock.advance(4_000);
    setClock(TRUE_MS);
    const straddling = record('boot-1', began);
    const after = record();
    state.clock.advance(1_000);
    synced = true;
    expect(correct()).toEqual({ corrected: 1, uncertain: 0 });
    expect(stored(straddling.id).captured_at).toBe(new Date(TRUE_MS - 4_000).toISOString());
    expect(stored(after.id).captured_at).toBe(new Date(TRUE_MS).toISOString());
  });

  it('does not treat a suspend as a step', () => {
    const before = record();
    const madeMono = state.clock.monoMs();
    state.clock.advance(10_000);
    // An hour of suspend: only the wall clock went on.
    state.clock.wallMs += 3_600_000;
    const after = record();
    state.store.timeCorrection.noteSleep(3_600_000, 'boot-1');
    state.clock.wallMs += 100 * DAY_MS;
    synced = true;
    expect(correct()).toEqual({ corrected: 2, uncertain: 0 });
    const nowMs = state.clock.nowMs();
    expect(stored(before.id).captured_at).toBe(
      new Date(nowMs - 3_600_000 - (state.clock.monoMs() - madeMono)).toISOString(),
    );
    expect(stored(after.id).captured_at).toBe(new Date(nowMs).toISOString());
  });

  it('does not change records of a synchronized clock, or of a clock that was right', () => {
    const fine = record();
    synced = true;
    const trusted = record();
    expect(correct()).toEqual({ corrected: 0, uncertain: 0 });
    expect(queued()).toEqual([fine, trusted]);
    setClock(TRUE_MS);
    expect(correct({ stepped: true })).toEqual({ corrected: 0, uncertain: 0 });
    expect(queued()).toEqual([fine, trusted]);
  });

  it('moves the times of events', () => {
    state.store.raise({ type: 'x', severity: 'info', code: 'x', message: '', context: { n: 1 } });
    setClock(TRUE_MS);
    synced = true;
    expect(correct()).toEqual({ corrected: 1, uncertain: 0 });
    const [event] = state.store.events.recent(1);
    expect(event).toMatchObject({
      seq: 1,
      at: new Date(TRUE_MS).toISOString(),
      context: { n: 1, time_corrected: true },
    });
    expect(queued()).toEqual([event]);
  });

  it('keeps the history that looks old because of a wrong clock', () => {
    const { id } = record();
    const [entry] = state.store.outbox.next(1, NONE);
    acknowledge(state.store.outbox, [entry!], state.clock.nowMs());
    setClock(TRUE_MS);
    synced = true;
    correct();
    state.store.prune();
    state.clock.advance(2 * DAY_MS);
    state.store.prune();
    expect(stored(id).captured_at).toBe('2025-01-01T00:00:00.000Z');
    expect(
      state.store.timeCorrection.correctTimestamps({ bootId: 'boot-1', synced, stepped: false }),
    ).toMatchObject({ more: false });
  });

  it('corrects a long queue in short batches', () => {
    for (let n = 0; n < 450; n += 1) record();
    setClock(TRUE_MS);
    synced = true;
    const outcomes = Array.from({ length: 3 }, () =>
      state.store.timeCorrection.correctTimestamps({ bootId: 'boot-1', synced, stepped: false }),
    );
    expect(outcomes.map(({ corrected, more }) => [corrected, more])).toEqual([
      [200, true],
      [200, true],
      [50, false],
    ]);
  });
});
