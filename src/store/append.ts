import type { Observation } from '../contract/observation.ts';
import type { SeaStateRecord } from '../contract/sea-state.ts';
import type { Bursts } from './bursts.ts';
import { UnstoredRecords } from './loss-events.ts';
import type { Observations } from './observations.ts';
import type { SqliteOutbox } from './outbox/outbox.ts';
import { recordStream } from './outbox/table.ts';
import type { SeaStates } from './sea-states.ts';
import type { Sequences } from './sequences.ts';
import type { TimeCorrection } from './time-correction.ts';
import type { BurstFeatures, ObservationDraft, RaiseEvent, SeaStateDraft } from './types.ts';
import type { Writer } from './writer.ts';

export interface AppenderDeps {
  readonly writer: Writer;
  readonly sequences: Sequences;
  readonly observations: Observations;
  readonly seaStates: SeaStates;
  readonly bursts: Bursts;
  readonly outbox: SqliteOutbox;
  readonly timeCorrection: TimeCorrection;
  readonly raise: RaiseEvent;
}

/** Assigns the sequence numbers of new records and stores each record with its message, in one transaction. Throws `store_*`. */
export class Appender {
  readonly #deps: AppenderDeps;
  readonly #unstored: UnstoredRecords;

  constructor(deps: AppenderDeps) {
    this.#deps = deps;
    this.#unstored = new UnstoredRecords(deps);
  }

  observation(draft: ObservationDraft, features: BurstFeatures): Observation {
    const { bursts, observations, outbox, timeCorrection } = this.#deps;
    return this.#write(() => {
      const { camera } = draft;
      const stream = recordStream(camera, 'observation');
      const record: Observation = { ...draft, ...this.#number(stream) };
      const { seq } = record;
      const payload = JSON.stringify(record);
      bursts.add(observations.insert(record, payload), features);
      outbox.enqueue({ stream, seq, topic: `camera/${camera}/observation`, payload }, { isStored: true });
      if (!record.clock.synced) timeCorrection.noteRecord(record, 'observation', outbox.newestRowId);
      return record;
    });
  }

  seaState(draft: SeaStateDraft): SeaStateRecord {
    const { outbox, seaStates, timeCorrection } = this.#deps;
    return this.#write(() => {
      const { camera } = draft;
      const stream = recordStream(camera, 'sea_state');
      const record: SeaStateRecord = { ...draft, ...this.#number(stream) };
      const { seq } = record;
      const payload = JSON.stringify(record);
      seaStates.insert(record, payload);
      outbox.enqueue({ stream, seq, topic: `camera/${camera}/sea_state`, payload });
      if (!record.clock.synced) timeCorrection.noteRecord(record, 'sea_state', outbox.newestRowId);
      return record;
    });
  }

  #write<T>(work: () => T): T {
    return this.#unstored.count(() => this.#deps.writer.write(work));
  }

  /** The fields of a record that was not sent yet. */
  #number(stream: string) {
    const { sequences } = this.#deps;
    const seq = sequences.next(stream);
    return { seq, store_id: sequences.identity.id, published_at: null, historical: false };
  }
}
