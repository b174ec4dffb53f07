import type { Clock } from '../base/clock.ts';
import type { VisionStats } from './protocol.ts';

const MAX_KEPT_DURATIONS = 256;
const MAX_KEPT_FAILURES = 10_000;
const HOUR_MS = 3_600_000;

/** Collects the statistics of the vision process for the heartbeat. */
export class StatsCounter {
  readonly #clock: Clock;
  readonly #durationsMs: number[] = [];
  readonly #failuresMonoMs: number[] = [];
  #restarts = 0;
  #rssMb = 0;
  #lastProgressMonoMs: number | null = null;

  constructor(deps: { readonly clock: Clock }) {
    this.#clock = deps.clock;
  }

  /** Notes that the process replied, with its resident memory in MiB. */
  progress(rssMb: number): void {
    this.#rssMb = rssMb;
    this.#lastProgressMonoMs = this.#clock.monoMs();
  }

  frame(durationMs: number): void {
    this.#durationsMs.push(durationMs);
    if (this.#durationsMs.length > MAX_KEPT_DURATIONS) this.#durationsMs.shift();
  }

  failure(): void {
    this.#failuresMonoMs.push(this.#clock.monoMs());
    if (this.#failuresMonoMs.length > MAX_KEPT_FAILURES) this.#failuresMonoMs.shift();
  }

  restart(): void {
    this.#restarts += 1;
  }

  snapshot(ready: boolean): VisionStats {
    const hourAgoMs = this.#clock.monoMs() - HOUR_MS;
    while ((this.#failuresMonoMs[0] ?? Number.POSITIVE_INFINITY) < hourAgoMs) this.#failuresMonoMs.shift();
    const sorted = this.#durationsMs.toSorted((a, b) => a - b);
    const quantile = (q: number): number | null => sorted[Math.floor(q * (sorted.length - 1))] ?? null;
    return {
      rssMb: this.#rssMb,
      p50Ms: quantile(0.5),
      p95Ms: quantile(0.95),
      failures1h: this.#failuresMonoMs.length,
      restarts: this.#restarts,
      lastProgressMonoMs: this.#lastProgressMonoMs,
      ready,
    };
  }
}
