import type { Clock } from '../../base/clock.ts';
import { AgentError } from '../../base/errors.ts';
import type { Log } from '../../base/log.ts';
import type { Camera, CaptureOptions, Frame, SeaTruth } from '../camera.ts';
import type { DrawingProcess } from './drawing-process.ts';
import { unit } from './noise.ts';
import { type Conditions, type Scenario, type Scene, sceneAt, stepAt } from './scene.ts';
import { truthOf } from './sea-state.ts';

export interface SimulatedCameraOptions {
  readonly id: string;
  readonly seed: number;
  /** The sea state changes this many times faster than in reality. The waves themselves move in real time. */
  readonly speed: number;
  /** Default 1280. */
  readonly widthPx?: number;
  /** Default 720. */
  readonly heightPx?: number;
  /** Conditions of the image by time; default: fair weather. */
  readonly script?: Scenario;
  /** How many times faster than in reality the scene of a clip runs. Default 8; `Infinity`: as fast as it is drawn. */
  readonly clipSpeed?: number;
}

/** Images of clips are small: they are drawn in a tenth of the time, and the wave period needs no more pixels. */
const CLIP_WIDTH_PX = 320;
const CLIP_SPEED = 8;

/**
 * A camera that shows a drawn sea of known wave height and period. The images depend only on the seed and the time
 * since the first capture. A child process, which several cameras may share, draws them.
 *
 * The scene of a clip runs `clipSpeed` times faster than reality: a clip of 256 s takes half a minute. Its waves move as
 * they do in reality, by the time `sceneMs` of its frames; the sea state does not change meanwhile. Between two images of a
 * clip the drawing process draws those of bursts.
 */
export class SimulatedCamera implements Camera {
  readonly id: string;
  readonly #options: SimulatedCameraOptions;
  readonly #clock: Clock;
  readonly #log: Log;
  readonly #drawing: DrawingProcess;
  readonly #closed = new AbortController();
  #closing: Promise<void> | null = null;
  #startedMonoMs: number | null = null;

  constructor(
    options: SimulatedCameraOptions,
    deps: { readonly clock: Clock; readonly log: Log; readonly drawing: DrawingProcess },
  ) {
    this.id = options.id;
    this.#options = options;
    this.#clock = deps.clock;
    this.#log = deps.log;
    this.#drawing = deps.drawing;
    this.#drawing.join();
  }

  /** Process id of the drawing process; null when it does not run. */
  get pid(): number | null {
    return this.#drawing.pid;
  }

  async *capture(options: CaptureOptions, signal: AbortSignal): AsyncGenerator<Frame> {
    const either = AbortSignal.any([signal, this.#closed.signal]);
    const startMs = this.#clock.monoMs();
    this.#startedMonoMs ??= startMs;
    const { isClip = false, intervalS, timeoutS } = options;
    const speed = isClip ? (this.#options.clipSpeed ?? CLIP_SPEED) : 1;
    const fullWidthPx = this.#options.widthPx ?? 1280;
    let yielded = 0;
    const clipFromS = (startMs - this.#startedMonoMs) / 1000;
    try {
      for (let index = 0; index < options.frames; index += 1) {
        const waitMs = startMs + (index * intervalS * 1000) / speed - this.#clock.monoMs();
        if (waitMs > 0) await this.#clock.sleep(waitMs, either);
        // The moment that the image shows, read before drawing, because drawing takes time.
        const moment = { capturedAtMs: this.#clock.nowMs(), monoMs: this.#clock.monoMs() };
        const nowS = (moment.monoMs - this.#startedMonoMs) / 1000;
        const { scene, truth, isDropped } = isClip
          ? this.#sceneOf(clipFromS + index * intervalS, clipFromS, Math.min(fullWidthPx, CLIP_WIDTH_PX))
          : this.#sceneOf(nowS, nowS, fullWidthPx);
        if (isDropped) continue;
        const format = isClip ? 'png' : 'jpeg';
        const { bytes, white01 } = await this.#drawing.draw(scene, { timeoutS, format }, either);
        yielded += 1;
        this.#log.trace({ pid: this.pid, truth, sizeBytes: bytes.length }, 'drew the simulated sea');
        yield {
          bytes,
          ...moment,
          truth: { ...truth, white01 },
          ...(isClip ? { sceneMs: index * intervalS * 1000 } : {}),
        };
      }
      if (yielded === 0) throw new AgentError('camera_timeout', 'no image arrived');
    } catch (failure) {
      // If close() interrupted the sleep, throw the reason of close() instead of the abort error.
      this.#closed.signal.throwIfAborted();
      throw failure;
    }
  }

  close(): Promise<void> {
    this.#closed.abort(new AgentError('camera_ended', 'the camera is closed'));
    return (this.#closing ??= this.#drawing.leave());
  }

  /**
   * The scene and its true waves at `nowS` after the first capture, with the sea state of `seaS`. While the image is frozen,
   * the scene stays the same, but the waves change.
   */
  #sceneOf(
    nowS: number,
    seaS: number,
    widthPx: number,
  ): { readonly scene: Scene; readonly truth: SeaTruth; readonly isDropped: boolean } {
    const { seed, speed, widthPx: fullWidthPx = 1280, heightPx: fullHeightPx = 720, script } = this.#options;
    const heightPx = Math.round((fullHeightPx * widthPx) / fullWidthPx);
    const step = stepAt(script, nowS);
    const { fromS } = step;
    const conditions = scaleMove(step.conditions, widthPx / fullWidthPx);
    const at = (motionS: number, seaAtS: number): Scene =>
      sceneAt({ seed, seaTimeS: seaAtS * speed, motionS, widthPx, heightPx, conditions });
    const now = at(conditions.reversed ? 2 * fromS - nowS : nowS, seaS);
    return {
      scene: conditions.frozen ? at(fromS, Math.min(fromS, seaS)) : now,
      truth: truthOf(now.swells, conditions.tideM),
      isDropped: unit(seed, 991, Math.round(nowS * 1000)) < (conditions.dropped01 ?? 0),
    };
  }
}

/** A movement is given in pixels of full images. */
function scaleMove(conditions: Conditions, scale: number): Conditions {
  const { move } = conditions;
  if (!move || scale === 1) return conditions;
  return { ...conditions, move: { ...move, panPx: move.panPx * scale, tiltPx: move.tiltPx * scale } };
}
