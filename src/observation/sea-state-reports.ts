import { isoTime, type Clock } from '../base/clock.ts';
import type { Log } from '../base/log.ts';
import type { SeaTruth } from '../camera/camera.ts';
import type { Camera as CameraSettings } from '../config/schema.ts';
import type { Wave } from '../contract/observation.ts';
import type { SeaStateRecord } from '../contract/sea-state.ts';
import type { Link } from '../mqtt/types.ts';
import { nextSlotsMs } from '../schedule/schedule.ts';
import type { SeaStateDraft } from '../store/types.ts';

/** The fields of `wave` that come from the clips of the camera. */
export type WavePeriod = Required<
  Pick<Wave, 'period_s' | 'period_low_s' | 'period_high_s' | 'period_basis' | 'period_age_s'>
>;

export const NO_PERIOD: WavePeriod = {
  period_s: null,
  period_low_s: null,
  period_high_s: null,
  period_basis: null,
  period_age_s: null,
};

/** For a camera without a schedule of clips: how often a person would ask for one. */
const USUAL_INTERVAL_S = 1800;
/** A period is out of date after this many intervals of the clips. */
const MAX_AGE_INTERVALS = 2;

export interface SeaStateReportsDeps {
  readonly clock: Clock;
  readonly log: Log;
  readonly store: {
    appendSeaState(draft: SeaStateDraft): SeaStateRecord;
    readonly seaStates: {
      newest(camera: string): SeaStateRecord | null;
      newestMeasured(camera: string, fromMs: number): SeaStateRecord | null;
    };
  };
  readonly link: Pick<Link, 'connected' | 'setState'>;
  readonly bootId: string;
  /** Called when the record is stored. */
  readonly onSeaState: (record: SeaStateRecord) => void;
}

/** What is known of one camera. */
interface Known {
  readonly maxAgeMs: number;
  readonly newest: SeaStateRecord | null;
  /** The newest record with a period. */
  readonly measured: SeaStateRecord | null;
  /** When its clip ended, if that was in this run. */
  readonly endMonoMs: number | null;
}

/** The records of clips: stores and publishes them, and gives their period to the observations that follow. */
export class SeaStateReports {
  readonly #deps: SeaStateReportsDeps;
  readonly #cameras = new Map<string, Known>();

  constructor(deps: SeaStateReportsDeps) {
    this.#deps = deps;
  }

  /**
   * Call it when a camera was added, or its settings changed. Publishes its newest record. `isNewSource`: the camera of this id
   * is another one than before, so that former clips give no period.
   */
  open(settings: CameraSettings, isNewSource = false): void {
    const { store, link } = this.#deps;
    const { id, kind } = settings;
    const maxAgeMs = MAX_AGE_INTERVALS * this.#intervalMs(settings);
    const newest = store.seaStates.newest(id);
    // A clip is shorter than two intervals.
    const fromMs = this.#deps.clock.nowMs() - 2 * maxAgeMs;
    const found = isNewSource ? null : store.seaStates.newestMeasured(id, fromMs);
    const measured = found?.simulated === (kind === 'simulated') ? found : null;
    const before = this.#cameras.get(id);
    const endMonoMs = measured && before?.measured?.id === measured.id ? before.endMonoMs : null;
    this.#cameras.set(id, { maxAgeMs, newest, measured, endMonoMs });
    if (newest) link.setState(topicOf(id), newest);
  }

  /** Call it when a camera was removed. Clears its retained topic. */
  close(camera: string): void {
    this.#cameras.delete(camera);
    this.#deps.link.setState(topicOf(camera), null);
  }

  /** Stores the record and publishes it. `truth`: what a simulated camera knows, for the log. Throws `store_*`. */
  add(draft: SeaStateDraft, truth?: SeaTruth): SeaStateRecord {
    const { store, log, onSeaState } = this.#deps;
    const record = store.appendSeaState(draft);
    const { camera, id, seq, status, reasons, period, simulated } = record;
    const { mono_ms: monoMs, duration_s: durationS } = record;
    log.info(
      {
        ...{ camera, id, seq, status },
        ...(reasons.length > 0 ? { reasons: reasons.join(',') } : {}),
        ...{ period_s: period.peak_s, low_s: period.low_s, high_s: period.high_s },
        ...(truth ? { truth_s: Number(truth.periodS.toFixed(2)) } : {}),
        ...(simulated ? { simulated } : {}),
      },
      'sea state',
    );
    const known = this.#cameras.get(camera);
    // The last clip of a camera that was removed meanwhile: its topics stay cleared.
    if (known) {
      // The scene of a simulated camera may run faster than the clock: its clips end earlier than `duration_s` says.
      const endMonoMs = Math.min(this.#deps.clock.monoMs(), monoMs + durationS * 1000);
      const measured = status === 'measured' ? { measured: record, endMonoMs } : {};
      this.#cameras.set(camera, { ...known, newest: record, ...measured });
      this.#publish(record);
    }
    onSeaState(record);
    return record;
  }

  /** After which time a period of this camera is out of date, seconds. */
  maxAgeS(camera: string): number {
    const maxAgeMs = this.#cameras.get(camera)?.maxAgeMs ?? MAX_AGE_INTERVALS * USUAL_INTERVAL_S * 1000;
    return Math.ceil(maxAgeMs / 1000);
  }

  /** The newest record of the camera, of any status. */
  newest(camera: string): SeaStateRecord | null {
    return this.#cameras.get(camera)?.newest ?? null;
  }

  /** The period for an observation that is made now: nulls when the newest one is older than two intervals of the clips. */
  period(camera: string): WavePeriod {
    const known = this.#cameras.get(camera);
    if (!known?.measured) return NO_PERIOD;
    const { measured, endMonoMs, maxAgeMs } = known;
    const ageMs = endMonoMs === null ? this.#ageMs(measured) : this.#deps.clock.monoMs() - endMonoMs;
    if (ageMs === null || ageMs > maxAgeMs) return NO_PERIOD;
    const { peak_s: period_s, low_s, high_s } = measured.period;
    return {
      period_s,
      period_low_s: low_s,
      period_high_s: high_s,
      period_basis: 'video_spectrum',
      period_age_s: Math.round(ageMs) / 1000,
    };
  }

  /** Reads the newest records again after their times were corrected, and publishes them. */
  publishCorrected(): void {
    const { seaStates } = this.#deps.store;
    for (const [camera, known] of this.#cameras) {
      const newest = seaStates.newest(camera);
      if (!newest?.warnings.includes('time_corrected')) continue;
      const measured = newest.id === known.measured?.id ? newest : known.measured;
      this.#cameras.set(camera, { ...known, newest, measured });
      this.#deps.link.setState(topicOf(camera), newest);
    }
  }

  #publish(record: SeaStateRecord): void {
    const { link, clock } = this.#deps;
    // Null without a connection: the record is published later.
    const published_at = link.connected ? isoTime(clock.nowMs()) : null;
    link.setState(topicOf(record.camera), { ...record, published_at });
  }

  /** Time since the end of a clip of a former run; null when the clocks do not tell. */
  #ageMs({
    boot_id: bootId,
    mono_ms: monoMs,
    captured_at: at,
    duration_s: durationS,
  }: SeaStateRecord): number | null {
    const { clock } = this.#deps;
    const sinceStartMs =
      bootId === this.#deps.bootId ? clock.monoMs() - monoMs : clock.nowMs() - Date.parse(at);
    return sinceStartMs < 0 ? null : Math.max(0, sinceStartMs - durationS * 1000);
  }

  /** Time between two clips of the schedule. */
  #intervalMs({ id, seaState, location }: CameraSettings): number {
    if (!seaState) return USUAL_INTERVAL_S * 1000;
    const { schedule } = seaState;
    if (schedule.everyS !== undefined) return schedule.everyS * 1000;
    const [first, second] = nextSlotsMs(
      { schedule, location, seedId: id },
      { clock: this.#deps.clock, count: 2 },
    );
    return first === undefined || second === undefined ? USUAL_INTERVAL_S * 1000 : second - first;
  }
}

const topicOf = (camera: string): string => `camera/${camera}/sea_state/latest`;
