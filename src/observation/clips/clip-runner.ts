import type { Clock } from '../../base/clock.ts';
import { AgentError, asAgentError } from '../../base/errors.ts';
import type { Log } from '../../base/log.ts';
import type { Camera, SeaTruth } from '../../camera/camera.ts';
import type { Camera as CameraSettings, SeaStateSettings } from '../../config/schema.ts';
import { loadGeometry, type CameraGeometry } from '../../geometry/camera-geometry.ts';
import type { SeaStatePicture, SeaStateRecord } from '../../contract/sea-state.ts';
import type { Schedule, Slot } from '../../schedule/types.ts';
import type { FigureData, Measured } from '../../sea-state/process/messages.ts';
import type { SeaStateProcess } from '../../sea-state/process/sea-state-process.ts';
import type { SeaStateDraft } from '../../store/types.ts';
import type { ColumnOptions, ModelLease } from '../../vision/protocol.ts';
import type { WaterLevel } from '../water-level.ts';
import type { FigureFiles } from './figure-files.ts';
import { buildSeaState, isWorthMeasuring, type SeaStateInput } from './sea-state-record.ts';
import { takeClip, type Clip } from './take-clip.ts';

export interface ClipRunnerOptions {
  readonly seaState: SeaStateSettings;
  /** The present settings of the camera. */
  readonly settings: () => CameraSettings;
  /** Values of the agent that each record carries. */
  readonly context: () => SeaStateInput['context'];
}

export interface ClipRunnerDeps {
  readonly camera: Camera;
  readonly schedule: Schedule;
  readonly lease: () => ModelLease;
  readonly process: SeaStateProcess;
  readonly files: FigureFiles;
  readonly waterLevel: Pick<WaterLevel, 'levelAt'>;
  /** Stores the record and publishes it. */
  readonly add: (draft: SeaStateDraft, truth: SeaTruth | undefined) => SeaStateRecord;
  readonly clock: Clock;
  readonly log: Log;
}

/** More columns change the height by less than its interval, and cost memory. */
const BREAKER_COLUMNS = 16;
const NOW: Pick<Slot, 'skipped'> = { skipped: null };

/**
 * Takes the clips of one camera, beside its bursts: slot, clip, estimate, record.
 *
 * INVARIANTS
 * - One clip at a time. A slot during a clip on request is skipped (`overlap`).
 * - Each slot leaves one record, unless the store fails, the camera is changed or the agent stops: then the clip leaves none.
 * - Bursts do not wait for a clip: they use the same source of frames, and go before it in the vision process.
 */
export class ClipRunner {
  readonly #options: ClipRunnerOptions;
  readonly #deps: ClipRunnerDeps;
  readonly #log: Log;
  #isBusy = false;
  /** Aborts clips on request; null while the camera does not run. */
  #running: AbortSignal | null = null;
  /** What the figures of the newest measured or rejected clip show. */
  #newest: { readonly id: string; readonly data: FigureData } | null = null;

  constructor(options: ClipRunnerOptions, deps: ClipRunnerDeps) {
    this.#options = options;
    this.#deps = deps;
    this.#log = deps.log.child({ camera: deps.camera.id });
  }

  get schedule(): Schedule {
    return this.#deps.schedule;
  }

  /** Takes a clip in each slot until the signal aborts. Never rejects. */
  async run(signal: AbortSignal): Promise<void> {
    this.#running = signal;
    try {
      for await (const slot of this.#deps.schedule.slots(signal)) {
        const { durationS } = this.#options.seaState;
        await this.#record(this.#isBusy ? { ...slot, skipped: 'overlap' } : slot, durationS, signal).catch(
          (thrown: unknown) => {
            if (!signal.aborted) this.#log.error({ err: thrown }, 'clip lost');
          },
        );
      }
    } catch (thrown) {
      if (!signal.aborted) this.#log.error({ err: thrown }, 'clips ended');
    }
  }

  /** Takes one clip now. Rejects with `sea_state_busy` during another one, and with the reason of a signal. */
  async measure(durationS: number | null, signal: AbortSignal): Promise<SeaStateRecord> {
    if (this.#isBusy) throw new AgentError('sea_state_busy', 'a clip of this camera is being taken');
    const either = this.#running ? AbortSignal.any([signal, this.#running]) : signal;
    const slot = { ...NOW, dueAtMs: this.#deps.clock.nowMs() };
    return await this.#record(slot, durationS ?? this.#options.seaState.durationS, either);
  }

  /**
   * A figure of a clip as PNG: of the newest one, or of one that was kept; null when there is none. Rejects as
   * `SeaStateProcess.draw` does.
   */
  async figure(id: string, figure: SeaStatePicture): Promise<Uint8Array | null> {
    const kept = await this.#deps.files.read(this.#deps.camera.id, id, figure);
    if (kept || this.#newest?.id !== id) return kept;
    // The process has a time limit of its own.
    return await this.#deps.process.draw(figure, this.#newest.data, new AbortController().signal);
  }

  async #record(slot: Slot, durationS: number, signal: AbortSignal): Promise<SeaStateRecord> {
    const { add, clock, waterLevel } = this.#deps;
    const { context } = this.#options;
    const dueMonoMs = clock.monoMs();
    if (slot.skipped === null) this.#isBusy = true;
    using _busy = {
      [Symbol.dispose]: () => {
        if (slot.skipped === null) this.#isBusy = false;
      },
    };
    const geometry = slot.skipped === null ? await this.#loadGeometry() : null;
    const clip = slot.skipped === null ? await this.#take(durationS, geometry, signal) : null;
    const measured = clip && isWorthMeasuring(clip) ? await this.#measureClip(clip, signal) : null;
    const record = add(
      buildSeaState({
        ...{ slot, dueMonoMs, clip, measured, geometry },
        levelAt: (place, timeMs) => waterLevel.levelAt(place, timeMs),
        context: context(),
        totalMs: clock.monoMs() - dueMonoMs,
      }),
      clip?.first?.truth,
    );
    if (measured instanceof AgentError) this.#log.warn({ err: measured, id: record.id }, 'clip not measured');
    else if (measured) await this.#keepFigures(record, measured, signal);
    return record;
  }

  /** An error when a file cannot be used; null without geometry. */
  async #loadGeometry(): Promise<CameraGeometry | AgentError | null> {
    const { geometry } = this.#options.settings();
    if (!geometry) return null;
    return await loadGeometry(geometry).catch((thrown: unknown) => {
      const failure = asAgentError(thrown);
      this.#log.warn({ err: failure }, 'geometry not usable');
      return failure;
    });
  }

  #take(durationS: number, geometry: CameraGeometry | AgentError | null, signal: AbortSignal): Promise<Clip> {
    const { seaState, settings } = this.#options;
    const columns = geometry === null || geometry instanceof AgentError ? null : columnsFor(geometry);
    return takeClip(settings, { ...seaState, durationS, columns }, this.#deps, signal);
  }

  async #measureClip({ sampler, columns }: Clip, signal: AbortSignal): Promise<Measured | AgentError> {
    try {
      return await this.#deps.process.measure(sampler.samples(), columns.samples(), signal);
    } catch (thrown) {
      signal.throwIfAborted();
      return asAgentError(thrown);
    }
  }

  /** A failure does not make the stored record look lost. */
  async #keepFigures(record: SeaStateRecord, measured: Measured, signal: AbortSignal): Promise<void> {
    const { estimate, stack } = measured;
    const { period, spectrum } = estimate;
    const data = { title: titleOf(record), caption: captionOf(record), fromS: 0, period, spectrum, stack };
    this.#newest = { id: record.id, data };
    if (!this.#options.seaState.keepTimestacks) return;
    try {
      for (const figure of ['timestack', 'spectrum'] as const) {
        const png = await this.#deps.process.draw(figure, data, signal);
        await this.#deps.files.write(record.camera, record.id, figure, png);
      }
    } catch (thrown) {
      if (!signal.aborted) this.#log.warn({ err: asAgentError(thrown), id: record.id }, 'figures not kept');
    }
  }
}

/** Columns for the height of breakers, from the horizon downwards. */
function columnsFor(geometry: CameraGeometry): ColumnOptions | null {
  const from01 = geometry.horizon01;
  return from01 < 1 ? { count: BREAKER_COLUMNS, from01 } : null;
}

const titleOf = ({ camera, captured_at, simulated }: SeaStateRecord): string =>
  `${camera}, ${captured_at}${simulated ? ' (simulated)' : ''}`;

function captionOf({ duration_s, reasons, period }: SeaStateRecord): string {
  const { peak_s, low_s, high_s, second_s } = period;
  const span = `${Math.round(duration_s)} s`;
  if (peak_s === null) return `${span}: no period (${reasons.join(', ')})`;
  const second = second_s === null ? '' : `, second train ${second_s.toFixed(1)} s`;
  return `${span}: period ${peak_s.toFixed(1)} s (${low_s?.toFixed(1)} to ${high_s?.toFixed(1)} s)${second}`;
}
