import type { Clock } from '../../base/clock.ts';
import type { Log } from '../../base/log.ts';
import type { EventDraft, RaiseEvent } from '../../store/types.ts';

/** Why a command was not run, or its sender not told, where someone may believe otherwise. */
export type RefusalCode =
  | 'command_retained'
  | 'command_expired'
  | 'command_clock_unsynced'
  | 'command_issued_in_future'
  | 'command_unanswered';

const MESSAGES: Readonly<Record<RefusalCode, string>> = {
  command_retained: 'A command was retained and was not run.',
  command_expired: 'A command was expired and was not run.',
  command_clock_unsynced: 'A command with expires_at came before the clock was set and was not run.',
  command_issued_in_future: 'A command from the future was not run: the clock of its sender is wrong.',
  command_unanswered: 'So many commands came that some were left without an answer.',
};

const FIRST_PAUSE_MS = 60_000;
const MAX_PAUSE_MS = 3_600_000;

export interface RefusalsDeps {
  readonly clock: Clock;
  readonly log: Log;
  readonly raise: RaiseEvent;
  readonly signal: AbortSignal;
}

interface Told {
  /** Since the last event. */
  count: number;
  context: EventDraft['context'];
  pauseMs: number;
  lastMonoMs: number;
  /** Until the pause is over, what comes is only counted. */
  pausing: boolean;
}

/**
 * Tells of refused commands by events: of the first at once, of those that follow with one event and their number after
 * a pause, which grows from a minute to an hour while they keep coming. So a flood of them cannot fill the outbox.
 */
export class Refusals {
  readonly #deps: RefusalsDeps;
  readonly #told = new Map<RefusalCode, Told>();

  constructor(deps: RefusalsDeps) {
    this.#deps = deps;
  }

  note(code: RefusalCode, context: EventDraft['context']): void {
    const nowMs = this.#deps.clock.monoMs();
    const told = this.#told.get(code) ?? {
      count: 0,
      context,
      pauseMs: 0,
      lastMonoMs: -Infinity,
      pausing: false,
    };
    this.#told.set(code, told);
    told.count += 1;
    told.context = context;
    if (told.pausing) return;
    const lately = nowMs - told.lastMonoMs < MAX_PAUSE_MS;
    told.pauseMs = lately ? longer(told.pauseMs) : FIRST_PAUSE_MS;
    told.pausing = true;
    this.#tell(code, told);
    void this.#gather(code, told);
  }

  /** Tells at once of what was not told yet. */
  flush(): void {
    for (const [code, told] of this.#told) this.#tell(code, told);
  }

  async #gather(code: RefusalCode, told: Told): Promise<void> {
    const { clock, signal } = this.#deps;
    for (;;) {
      await clock.sleep(told.pauseMs, signal).catch(() => undefined);
      if (signal.aborted) return;
      if (told.count === 0) break;
      told.pauseMs = longer(told.pauseMs);
      this.#tell(code, told);
    }
    told.pausing = false;
  }

  #tell(code: RefusalCode, told: Told): void {
    const { count, context } = told;
    if (count === 0) return;
    told.count = 0;
    told.lastMonoMs = this.#deps.clock.monoMs();
    this.#raise(code, context, count);
  }

  #raise(code: RefusalCode, context: EventDraft['context'], count: number): void {
    this.#deps.log.warn({ code, count, ...context }, 'commands refused');
    this.#deps.raise({
      type: 'command_refused',
      severity: 'warning',
      code,
      message: MESSAGES[code],
      context: { ...context, count },
    });
  }
}

const longer = (pauseMs: number): number => Math.min(pauseMs * 2, MAX_PAUSE_MS);
