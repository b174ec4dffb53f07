import type { Clock } from '../../base/clock.ts';
import { AgentError } from '../../base/errors.ts';
import type { Log } from '../../base/log.ts';
import type { Camera, CaptureOptions, Frame } from '../camera.ts';
import { Artist } from './artist.ts';
import { type Scenario, type Scene, sceneAt, stepAt } from './scene.ts';
import { truthOf } from './sea-state.ts';

export interface SimulatedCameraOptions {
  readonly id: string;
  readonly seed: number;
  /** Seconds of sea state per second of clock; the waves themselves move in real time. */
  readonly speed: number;
  /** Default 1280. */
  readonly widthPx?: number;
  /** Default 720. */
  readonly heightPx?: number;
  /** What goes wrong when; default: fair all day. */
  readonly script?: Scenario;
}

/**
 * A camera that looks at a drawn sea whose height and period are known. LabelledImages depend on the seed and the time
 * since the first capture alone. A process of its own draws them.
 */
export class SimulatedCamera implements Camera {
  readonly id: string;
  readonly #options: SimulatedCameraOptions;
  readonly #clock: Clock;
  readonly #log: Log;
  readonly #artist = new Artist();
  readonly #closed = new AbortController();
  #startedMonoMs: number | null = null;

  constructor(options: SimulatedCameraOptions, deps: { readonly clock: Clock; readonly log: Log }) {
    this.id = options.id;
    this.#options = options;
    this.#clock = deps.clock;
    this.#log = deps.log;
  }

  /** Process id of the drawing process; null when none runs. */
  get pid(): number | null {
    return this.#artist.pid;
  }

  async *capture(options: CaptureOptions, signal: AbortSignal): AsyncGenerator<Frame> {
    const either = AbortSignal.any([signal, this.#closed.signal]);
    const beganMs = this.#clock.monoMs();
    this.#startedMonoMs ??= beganMs;
    try {
      for (let index = 0; index < options.frames; index += 1) {
        const waitMs = beganMs + index * options.intervalS * 1000 - this.#clock.monoMs();
        if (waitMs > 0) await this.#clock.sleep(waitMs, either);
        // The moment that the picture shows: drawing it may take a while.
        const moment = { capturedAtMs: this.#clock.nowMs(), monoMs: this.#clock.monoMs() };
        const { scene, truth } = this.#sceneNow(this.#startedMonoMs);
        const bytes = await this.#artist.draw(scene, options.timeoutS, either);
        this.#log.trace({ pid: this.pid, truth, sizeBytes: bytes.length }, 'sea drawn');
        yield { bytes, ...moment, truth };
      }
    } catch (failure) {
      // A wait that close() cut short says only that it was aborted.
      this.#closed.signal.throwIfAborted();
      throw failure;
    }
  }

  async close(): Promise<void> {
    this.#closed.abort(new AgentError('camera_ended', 'the camera is closed'));
    await this.#artist.close();
  }

  /** The scene that the lens sees now; a frozen one stays at the moment when it froze, while the sea goes on. */
  #sceneNow(startedMonoMs: number): { readonly scene: Scene; readonly truth: NonNullable<Frame['truth']> } {
    const { seed, speed, widthPx = 1280, heightPx = 720, script } = this.#options;
    const nowS = (this.#clock.monoMs() - startedMonoMs) / 1000;
    const { fromS, conditions } = stepAt(script, nowS);
    const at = (motionS: number): Scene =>
      sceneAt({ seed, seaTimeS: motionS * speed, motionS, widthPx, heightPx, conditions });
    return { scene: at(conditions.frozen ? fromS : nowS), truth: truthOf(at(nowS).swells) };
  }
}
