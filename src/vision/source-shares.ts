import type { Clock } from '../base/clock.ts';
import { AgentError, type ErrorCode } from '../base/errors.ts';
import { median } from '../base/statistics.ts';
import type { FramePriority } from './protocol.ts';

/** What is known of a source: a camera, its clips, all uploads together, or all other requests together. */
interface Source {
  priority: FramePriority;
  /** Time in the vision process, ms; halves each minute. */
  usedMs: number;
  usedAtMonoMs: number;
  /** Moving mean of the time of one frame, ms; null before the first one. */
  frameMs: number | null;
  submittedMonoMs: number;
  slowMonoMs: number;
  restUntilMonoMs: number;
  /** Frames that ended the process, the last one at `crashMonoMs`. */
  crashes: number;
  crashMonoMs: number;
}

const RANK: Readonly<Record<FramePriority, number>> = { schedule: 0, request: 1, upload: 2, clip: 3 };
const HALF_LIFE_MS = 60_000;
/** Weight of the newest frame in the moving mean. */
const NEWEST = 0.3;
/** A frame is slow if it takes this long and this many times longer than those of the other sources. */
const MIN_SLOW_MS = 1000;
const SLOW_FACTOR = 4;
/** After a slow frame, its source rests for this many times its duration: it gets a tenth of the time. */
const REST_FACTOR = 9;
/** Less than the time after which the watchdog takes a vision process without replies for stalled. */
const MAX_REST_MS = 60_000;
/** A source rests only for others that sent a frame within this time. A slow frame cannot make rarer ones miss a slot. */
const ACTIVE_MS = 10_000;
/** As for uploads (`PoisonImages`): one crash alone may be a coincidence, and its cause may be temporary. */
const MAX_CRASHES = 2;
const FORGET_AFTER_MS = 600_000;
const CRASH_CODES: readonly ErrorCode[] = ['vision_crashed', 'vision_timeout'];
const MAX_SOURCES = 256;

/**
 * Shares the time of the vision process among the sources of frames, so that a camera with pictures that take long, or that
 * crash the process, cannot make others miss their slots.
 *
 * INVARIANTS
 * - Waiting frames of equal priority go in the order of the time that their sources used.
 * - After a slow frame its source rests, while others of equal or higher priority are active: it gets a tenth of the time.
 * - A camera whose frames ended the process twice is refused for ten minutes, if another camera is served without that.
 */
export class SourceShares {
  readonly #clock: Clock;
  readonly #sources = new Map<string, Source>();
  #lastEndMonoMs = -Infinity;

  constructor(deps: { readonly clock: Clock }) {
    this.#clock = deps.clock;
  }

  /** Call this for each new frame. Throws `image_corrupt` while the frames of this source are refused. */
  submitted(name: string, priority: FramePriority): void {
    const nowMs = this.#clock.monoMs();
    const source = this.#sources.get(name) ?? this.#add(name, priority, nowMs);
    if (priority === 'schedule' && this.#isRefused(source, nowMs))
      throw new AgentError(
        'image_corrupt',
        'images of this camera ended the vision process twice: it is refused for ten minutes',
      );
    source.priority = priority;
    source.submittedMonoMs = nowMs;
  }

  /**
   * Call this when a frame that was sent at `sentMonoMs` has a reply or failed. `code`: that of the failure, null for a
   * result. Returns the time that the process took for it, ms: it begins with a frame when it has ended the one before.
   */
  ended(name: string, sentMonoMs: number, code: ErrorCode | null): number {
    const nowMs = this.#clock.monoMs();
    const tookMs = nowMs - Math.max(sentMonoMs, this.#lastEndMonoMs);
    this.#lastEndMonoMs = nowMs;
    const source = this.#sources.get(name);
    if (source) this.#count(source, { nowMs, tookMs, code });
    return tookMs;
  }

  #count(
    source: Source,
    { nowMs, tookMs, code }: { nowMs: number; tookMs: number; code: ErrorCode | null },
  ): void {
    source.usedMs = this.#usedMs(source, nowMs) + tookMs;
    source.usedAtMonoMs = nowMs;
    if (code !== null && CRASH_CODES.includes(code)) {
      source.crashes = nowMs - source.crashMonoMs > FORGET_AFTER_MS ? 1 : source.crashes + 1;
      source.crashMonoMs = nowMs;
    }
    const others = this.#others(source).flatMap(({ frameMs }) => frameMs ?? []);
    source.frameMs = source.frameMs === null ? tookMs : source.frameMs + NEWEST * (tookMs - source.frameMs);
    const usualMs = median(others);
    if (tookMs < MIN_SLOW_MS || usualMs === null || tookMs < SLOW_FACTOR * usualMs) return;
    source.slowMonoMs = nowMs;
    source.restUntilMonoMs = Math.min(
      nowMs + MAX_REST_MS,
      Math.max(nowMs, source.restUntilMonoMs) + REST_FACTOR * tookMs,
    );
  }

  /** How long the next frame of this source has to wait, ms; 0 when it may be sent. */
  restMs(name: string): number {
    const source = this.#sources.get(name);
    if (!source) return 0;
    const nowMs = this.#clock.monoMs();
    const otherMs = Math.max(...this.#others(source).map(({ submittedMonoMs }) => submittedMonoMs));
    return Math.max(0, Math.min(source.restUntilMonoMs, otherMs + ACTIVE_MS) - nowMs);
  }

  /** Time in the vision process that the source used lately, ms. */
  usedMs(name: string): number {
    const source = this.#sources.get(name);
    return source ? this.#usedMs(source, this.#clock.monoMs()) : 0;
  }

  /**
   * False when a frame of this source must not be sent before the process is idle, because others could not overtake it: its
   * frames are slow, or the frame before it is of the same source and may prove to be.
   */
  mayGoAhead(name: string, before: string): boolean {
    const source = this.#sources.get(name);
    if (!source) return true;
    const nowMs = this.#clock.monoMs();
    if (nowMs - source.slowMonoMs <= FORGET_AFTER_MS) return false;
    return (
      name !== before || !this.#others(source).some((other) => nowMs - other.submittedMonoMs <= ACTIVE_MS)
    );
  }

  #add(name: string, priority: FramePriority, nowMs: number): Source {
    if (this.#sources.size >= MAX_SOURCES) {
      const [oldest] = [...this.#sources].toSorted(([, a], [, b]) => a.submittedMonoMs - b.submittedMonoMs);
      if (oldest) this.#sources.delete(oldest[0]);
    }
    const source: Source = {
      ...{ priority, usedMs: 0, usedAtMonoMs: nowMs, frameMs: null, submittedMonoMs: nowMs },
      ...{ slowMonoMs: -Infinity, restUntilMonoMs: -Infinity, crashes: 0, crashMonoMs: -Infinity },
    };
    this.#sources.set(name, source);
    return source;
  }

  /** The sources for which this one has to leave time. */
  #others(source: Source): Source[] {
    return [...this.#sources.values()].filter(
      (other) => other !== source && RANK[other.priority] <= RANK[source.priority],
    );
  }

  #isRefused(source: Source, nowMs: number): boolean {
    const isRecent = (ms: number): boolean => nowMs - ms <= FORGET_AFTER_MS;
    if (source.crashes < MAX_CRASHES || !isRecent(source.crashMonoMs)) return false;
    // When frames of all cameras crash the process, the fault is not theirs.
    const others = this.#others(source).filter(({ submittedMonoMs }) => isRecent(submittedMonoMs));
    return others.some(({ frameMs, crashes }) => frameMs !== null && crashes === 0);
  }

  #usedMs(source: Source, nowMs: number): number {
    return source.usedMs * 0.5 ** ((nowMs - source.usedAtMonoMs) / HALF_LIFE_MS);
  }
}
