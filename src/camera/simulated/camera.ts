import type { Clock } from '../../base/clock.ts';
import { AgentError } from '../../base/errors.ts';
import type { Log } from '../../base/log.ts';
import type { Camera, CaptureOptions, Frame } from '../camera.ts';
import type { DrawingProcess } from './drawing-process.ts';
import { type Scenario, type Scene, sceneAt, stepAt } from './scene.ts';
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
}

/**
 * A camera that shows a drawn sea of known wave height and period. The images depend only on the seed and the time
 * since the first capture. A child process, which several cameras may share, draws them.
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
    try {
      for (let index = 0; index < options.frames; index += 1) {
        const waitMs = startMs + index * options.intervalS * 1000 - this.#clock.monoMs();
        if (waitMs > 0) await this.#clock.sleep(waitMs, either);
        // The moment that the image shows, read before drawing, because drawing takes time.
        const moment = { capturedAtMs: this.#clock.nowMs(), monoMs: this.#clock.monoMs() };
        const { scene, truth } = this.#currentScene(this.#startedMonoMs);
        const bytes = await this.#drawing.draw(scene, options.timeoutS, either);
        this.#log.trace({ pid: this.pid, truth, sizeBytes: bytes.length }, 'drew the simulated sea');
        yield { bytes, ...moment, truth };
      }
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

  /** The present scene and its true waves. While the image is frozen, the scene stays the same, but the waves change. */
  #currentScene(startedMonoMs: number): {
    readonly scene: Scene;
    readonly truth: NonNullable<Frame['truth']>;
  } {
    const { seed, speed, widthPx = 1280, heightPx = 720, script } = this.#options;
    const nowS = (this.#clock.monoMs() - startedMonoMs) / 1000;
    const { fromS, conditions } = stepAt(script, nowS);
    const at = (motionS: number): Scene =>
      sceneAt({ seed, seaTimeS: motionS * speed, motionS, widthPx, heightPx, conditions });
    return { scene: at(conditions.frozen ? fromS : nowS), truth: truthOf(at(nowS).swells) };
  }
}
