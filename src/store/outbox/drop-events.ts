import type { Clock } from '../../base/clock.ts';
import type { Event } from '../../contract/states.ts';
import { asAgentError } from '../../base/errors.ts';
import type { Log } from '../../base/log.ts';
import type { Events } from '../events.ts';
import type { Sequences } from '../sequences.ts';
import type { EventDraft } from '../types.ts';
import type { Writer } from '../writer.ts';

/** The event that tells of drops is raised, or brought up to date, at most this often; the heartbeat counts each. */
const DROP_EVENT_EVERY_MS = 3_600_000;

export interface DropEventsDeps {
  readonly clock: Clock;
  readonly log: Log;
  readonly writer: Writer;
  readonly sequences: Sequences;
  readonly events: Events;
}

/** Tells of records that the bound dropped. */
export class DropEvents {
  readonly #deps: DropEventsDeps;
  #told: { readonly event: Event; readonly monoMs: number; readonly since: number } | null = null;

  constructor(deps: DropEventsDeps) {
    this.#deps = deps;
  }

  /** One event for a series of drops: while it was not sent yet it is brought up to date instead of a second one. */
  tell(): void {
    const nowMs = this.#deps.clock.monoMs();
    const told = this.#told;
    if (told && nowMs - told.monoMs < DROP_EVENT_EVERY_MS) return;
    const total = this.#deps.sequences.droppedTotal();
    if (total <= this.#deps.sequences.droppedReported) return;
    try {
      this.#deps.writer.write(() => {
        const amended =
          told && this.#deps.events.amend(told.event, { dropped: total - told.since, dropped_total: total });
        const since = amended ? told.since : this.#deps.sequences.droppedReported;
        // Before it is stored, which may itself push out a row.
        this.#deps.sequences.droppedReported = total;
        const event = amended ?? this.#deps.events.raise(dropEvent(total - since, total));
        this.#told = { event, monoMs: nowMs, since };
      });
    } catch (thrown) {
      this.#deps.log.error({ code: asAgentError(thrown).code, err: thrown }, 'drops not told of');
    }
  }
}

const dropEvent = (dropped: number, droppedTotal: number): EventDraft => ({
  type: 'outbox_dropped',
  severity: 'warning',
  code: 'outbox_dropped',
  message:
    'Records were dropped unsent: the outbox is at its bound. The broker was out of reach for too long.',
  context: { dropped, dropped_total: droppedTotal },
});
