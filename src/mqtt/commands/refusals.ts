import type { Clock } from '../../base/clock.ts';
import type { Log } from '../../base/log.ts';
import type { EVENT_CODES } from '../../contract/codes.ts';
import type { EventDraft } from '../../contract/states.ts';
import type { RaiseEvent } from '../../store/types.ts';

/** Why a command was not run or not answered, in the cases where its sender may believe that it was. */
export type RefusalCode = Extract<keyof typeof EVENT_CODES, `command_${string}`>;

const MESSAGES: Readonly<Record<RefusalCode, string>> = {
  command_retained: 'A command was retained and was not run.',
  command_expired: 'A command had expired and was not run.',
  command_clock_unsynced: 'A command with expires_at arrived before the clock was set and was not run.',
  command_issued_in_future: 'A command with a future time was not run: the clock of its sender is wrong.',
  command_unanswered: 'Too many commands arrived: the device did not answer all of them.',
};

const MIN_PAUSE_MS = 60_000;
const MAX_PAUSE_MS = 3_600_000;

export interface RefusalsDeps {
  readonly clock: Clock;
  readonly log: Log;
  readonly raise: RaiseEvent;
  readonly signal: AbortSignal;
}

interface RefusalCount {
  /** Refusals since the last event. */
  count: number;
  /** Context of the last refusal. */
  context: EventDraft['context'];
  pauseMs: number;
  lastEventMonoMs: number;
  /** True during a pause between two events: refusals are only counted. */
  isPausing: boolean;
}

/**
 * Raises events about refused commands: at once for the first refusal, then one event with the count after each pause.
 * The pause grows from one minute to one hour while refusals continue, so that a flood of commands cannot fill the
 * outbox.
 */
export class Refusals {
  readonly #deps: RefusalsDeps;
  readonly #counts = new Map<RefusalCode, RefusalCount>();

  constructor(deps: RefusalsDeps) {
    this.#deps = deps;
  }

  add(code: RefusalCode, context: EventDraft['context']): void {
    const nowMs = this.#deps.clock.monoMs();
    const refusals = this.#counts.get(code) ?? {
      count: 0,
      context,
      pauseMs: 0,
      lastEventMonoMs: -Infinity,
      isPausing: false,
    };
    this.#counts.set(code, refusals);
    refusals.count += 1;
    refusals.context = context;
    if (refusals.isPausing) return;
    const isRecent = nowMs - refusals.lastEventMonoMs < MAX_PAUSE_MS;
    refusals.pauseMs = isRecent ? doublePause(refusals.pauseMs) : MIN_PAUSE_MS;
    refusals.isPausing = true;
    this.#raiseCount(code, refusals);
    void this.#raiseAfterPauses(code, refusals);
  }

  /** Raises events about all refusals that were counted but not reported yet. */
  flush(): void {
    for (const [code, refusals] of this.#counts) this.#raiseCount(code, refusals);
  }

  async #raiseAfterPauses(code: RefusalCode, refusals: RefusalCount): Promise<void> {
    const { clock, signal } = this.#deps;
    for (;;) {
      await clock.sleep(refusals.pauseMs, signal).catch(() => undefined);
      if (signal.aborted) return;
      if (refusals.count === 0) break;
      refusals.pauseMs = doublePause(refusals.pauseMs);
      this.#raiseCount(code, refusals);
    }
    refusals.isPausing = false;
  }

  #raiseCount(code: RefusalCode, refusals: RefusalCount): void {
    const { clock, log, raise } = this.#deps;
    const { count } = refusals;
    if (count === 0) return;
    refusals.count = 0;
    refusals.lastEventMonoMs = clock.monoMs();
    const context = { ...refusals.context, count };
    log.warn({ code, ...context }, 'refused commands, or dropped answers to commands');
    raise({ type: 'command_refused', severity: 'warning', code, message: MESSAGES[code], context });
  }
}

const doublePause = (pauseMs: number): number => Math.min(pauseMs * 2, MAX_PAUSE_MS);
