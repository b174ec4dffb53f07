import type { Counter, Gauge } from 'prom-client';
import type { Clock } from '../../base/clock.ts';
import type { Observation } from '../../contract/observation.ts';
import type { SeaStateRecord } from '../../contract/sea-state.ts';
import { READINGS, SEA_STATE_READINGS } from './heartbeat.ts';
import type { MetricFactory } from './analysis.ts';

/** The value of a record; null when it is unknown. */
type ValueOf<R> = (record: R) => number | null;
type ReadingTable<R> = Readonly<Record<string, readonly [help: string, value: ValueOf<R>]>>;

interface CountedRecord {
  readonly camera: string;
  readonly status: string;
  readonly reasons: readonly string[];
}

/** The metrics of one kind of record: how many there were, why they have no value, and what the newest one says. */
class StreamMetrics<R extends CountedRecord> {
  readonly #clock: Clock;
  readonly #total: Counter;
  readonly #reasons: Counter;
  readonly #age: Gauge;
  readonly #readings: readonly (readonly [metric: Gauge, value: ValueOf<R>])[];
  /** When the newest record of each camera was counted, by the monotonic clock. */
  readonly #countedAtMs = new Map<string, number>();

  constructor(
    metrics: { readonly total: Counter; readonly reasons: Counter; readonly age: Gauge },
    readings: ReadingTable<R>,
    { gauge, clock }: Pick<MetricFactory, 'gauge'> & { readonly clock: Clock },
  ) {
    this.#clock = clock;
    this.#total = metrics.total;
    this.#reasons = metrics.reasons;
    this.#age = metrics.age;
    this.#readings = Object.entries(readings).map(([name, [help, value]]) => [
      gauge(name, help, ['camera']),
      value,
    ]);
  }

  count(record: R): void {
    const { camera, status, reasons } = record;
    this.#total.inc({ camera, status });
    for (const reason of reasons) this.#reasons.inc({ camera, status, reason });
    this.#countedAtMs.set(camera, this.#clock.monoMs());
    for (const [metric, valueOf] of this.#readings) {
      const value = valueOf(record);
      if (value === null) metric.remove({ camera });
      else metric.set({ camera }, value);
    }
  }

  /** Sets the ages, and removes the values of cameras that are no longer configured. */
  update(present: ReadonlySet<string>): void {
    const nowMs = this.#clock.monoMs();
    for (const [camera, countedAtMs] of this.#countedAtMs) {
      if (present.has(camera)) this.#age.set({ camera }, (nowMs - countedAtMs) / 1000);
      else {
        this.#countedAtMs.delete(camera);
        for (const metric of [this.#age, ...this.#readings.map(([one]) => one)]) metric.remove({ camera });
      }
    }
  }
}

/** Metrics of the records of this run. */
export class RecordMetrics {
  readonly observations: StreamMetrics<Observation>;
  readonly seaStates: StreamMetrics<SeaStateRecord>;

  constructor(clock: Clock, { gauge, counter }: Pick<MetricFactory, 'gauge' | 'counter'>) {
    const byStatus = ['camera', 'status'];
    const byReason = [...byStatus, 'reason'];
    this.observations = new StreamMetrics<Observation>(
      {
        total: counter('observations_total', 'Records made in this run.', byStatus),
        reasons: counter(
          'observation_reasons_total',
          'Reasons in these records; a record may have several.',
          byReason,
        ),
        age: gauge('observation_age_seconds', 'Time since the newest record was made.', ['camera']),
      },
      READINGS,
      { gauge, clock },
    );
    this.seaStates = new StreamMetrics<SeaStateRecord>(
      {
        total: counter('sea_states_total', 'Clips in this run.', byStatus),
        reasons: counter('sea_state_reasons_total', 'Reasons in the records of these clips.', byReason),
        age: gauge('sea_state_age_seconds', 'Time since the record of the newest clip was made.', ['camera']),
      },
      SEA_STATE_READINGS,
      { gauge, clock },
    );
  }

  update(present: ReadonlySet<string>): void {
    this.observations.update(present);
    this.seaStates.update(present);
  }
}
