import type { Clock } from '../clock.ts';
import type { Log } from '../log.ts';
import type { EventDraft, RaiseEvent } from '../store/types.ts';

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
const LONGEST_PAUSE_MS = 3_600_000;

export interface RefusalsDeps {
  readonly clock: Clock;
  readonly log: Log;
  readonly raise: RaiseEvent;
  readonly signal: AbortSignal;
}

interface Pending {
  /** Since the last event. */
  count: number;
  context: EventDraft['context'];
}

/**
 * Tells of refused commands by events: of the first at once, of those that follow with one event and their number after
 * a pause, which grows from a minute to an hour while they keep coming. So a flood of them cannot fill the outbox.
 */
export class Refusals {
  readonly #deps: RefusalsDeps;
  /** Codes that were told of lately. */
  readonly #pending = new Map<RefusalCode, Pending>();

  constructor(deps: RefusalsDeps) {
    this.#deps = deps;
  }

  note(code: RefusalCode, context: EventDraft['context']): void {
    const pending = this.#pending.get(code);
    if (pending) {
      pending.count += 1;
      pending.context = context;
      return;
    }
    this.#pending.set(code, { count: 0, context });
    this.#raise(code, context, 1);
    void this.#gather(code);
  }

  /** Tells at once of what was not told yet. */
  flush(): void {
    for (const [code, pending] of this.#pending) this.#tell(code, pending);
  }

  async #gather(code: RefusalCode): Promise<void> {
    const { clock, signal } = this.#deps;
    const pending = this.#pending.get(code);
    for (let pauseMs = FIRST_PAUSE_MS; pending; pauseMs = Math.min(pauseMs * 2, LONGEST_PAUSE_MS)) {
      await clock.sleep(pauseMs, signal).catch(() => undefined);
      if (signal.aborted) return;
      if (pending.count === 0) break;
      this.#tell(code, pending);
    }
    this.#pending.delete(code);
  }

  #tell(code: RefusalCode, pending: Pending): void {
    const { count, context } = pending;
    if (count === 0) return;
    pending.count = 0;
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
