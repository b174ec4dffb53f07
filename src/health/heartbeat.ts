import { loadavg } from 'node:os';
import { isoTime, type Clock } from '../base/clock.ts';
import type { Health } from '../contract/health.ts';
import type { Log } from '../base/log.ts';
import { findDegradedCodes } from './degraded.ts';
import { DiskProbe } from './disk.ts';
import { readFreeMemoryMb } from '../base/free-memory.ts';
import type { KeyValue } from '../store/types.ts';
import { findVolatility } from './state-volume.ts';
import type { BoardState, HealthSources } from './types.ts';
import { WriteRate } from './write-rate.ts';

export interface HeartbeatOptions {
  readonly intervalS: number;
  readonly stateDir: string;
  readonly version: string;
  readonly bootId: string;
}

export interface HeartbeatDeps {
  readonly clock: Clock;
  readonly log: Log;
  readonly sources: HealthSources;
  readonly board: { sample(): Promise<BoardState> };
  readonly memory: KeyValue;
  /** Present settings: above this many MiB per day, the writes count as too many; 0 for no limit. */
  readonly limits: () => { readonly maxWrittenMbDay: number };
  /** Receives each heartbeat. An error that it throws is logged and has no other effect. */
  readonly sink: (health: Health) => void | Promise<void>;
  /** Directory that contains /proc and /sys; `/` except in tests. */
  readonly root?: string;
}

const BYTES_PER_MB = 2 ** 20;

/** Builds a health record at every interval and passes it on. When a probe or a source fails, only its own values are missing. */
export class Heartbeat {
  readonly #options: HeartbeatOptions;
  readonly #deps: HeartbeatDeps;
  readonly #root: string;
  readonly #writes: WriteRate;
  readonly #disk: DiskProbe;
  readonly #startedMonoMs: number;
  #intervalS: number;
  #seq = 0;
  #droppedTotal = 0;
  #lastBeatMonoMs = -Infinity;
  #latest: Health | null = null;
  #volatility: Promise<'memory' | 'layer' | null> | null = null;
  #nudge = new AbortController();
  /** `nudge` was called after the last beat began. */
  #isDue = false;

  constructor(options: HeartbeatOptions, deps: HeartbeatDeps) {
    this.#options = options;
    this.#intervalS = options.intervalS;
    this.#deps = deps;
    this.#root = deps.root ?? '/';
    this.#disk = new DiskProbe({ dir: options.stateDir });
    this.#writes = new WriteRate({ clock: deps.clock, memory: deps.memory, root: this.#root });
    this.#startedMonoMs = deps.clock.monoMs();
  }

  /** The last heartbeat; null before the first. */
  get latest(): Health | null {
    return this.#latest;
  }

  /** The last heartbeat. Throws before the first. */
  current(): Health {
    if (!this.#latest) throw new Error('no heartbeat yet');
    return this.#latest;
  }

  /** Makes one heartbeat now. */
  async beat(): Promise<void> {
    const { clock, log, sink } = this.#deps;
    this.#lastBeatMonoMs = clock.monoMs();
    this.#isDue = false;
    this.#seq += 1;
    this.#latest = await this.buildRecord();
    this.#droppedTotal = this.#latest.outbox.dropped_total;
    try {
      await sink(this.#latest);
    } catch (thrown) {
      log.warn({ err: thrown }, 'heartbeat not published');
    }
  }

  /** Beats immediately when there was no beat, then one interval after each beat. Resolves when the signal aborts. */
  async run(signal: AbortSignal): Promise<void> {
    const { clock } = this.#deps;
    try {
      for (;;) {
        const dueMs = this.#lastBeatMonoMs + this.#intervalS * 1000;
        await this.#waitForBeat(Math.max(0, dueMs - clock.monoMs()), signal);
        await this.beat();
      }
    } catch (thrown) {
      if (!signal.aborted) throw thrown;
    }
  }

  /** Sets another interval, and beats now. */
  setInterval(intervalS: number): void {
    this.#intervalS = intervalS;
    this.nudge();
  }

  /** Beats now instead of at the end of the interval, so that a dashboard shows a change at once. */
  nudge(): void {
    this.#isDue = true;
    this.#nudge.abort();
  }

  async #waitForBeat(ms: number, signal: AbortSignal): Promise<void> {
    signal.throwIfAborted();
    if (this.#isDue) return;
    this.#nudge = new AbortController();
    try {
      await this.#deps.clock.sleep(ms, AbortSignal.any([signal, this.#nudge.signal]));
    } catch (thrown) {
      if (signal.aborted || !this.#nudge.signal.aborted) throw thrown;
    }
  }

  /** Builds a record of now with the number of the last heartbeat. Never rejects. */
  async buildRecord(): Promise<Health> {
    const { clock, sources } = this.#deps;
    const { version, bootId, stateDir } = this.#options;
    const failedParts: string[] = [];
    const readPart = <T>(part: string, source: () => T, fallback: T): T => {
      try {
        return source();
      } catch {
        failedParts.push(part);
        return fallback;
      }
    };

    const vision = readPart('vision', () => sources.vision(), null);
    const link = readPart('link', () => sources.link(), null);
    const model = readPart('model', () => sources.model(), null);
    const outbox = readPart('outbox', () => sources.outbox(), null);
    const clockState = readPart('clock', () => sources.clock(), { synced: false, offsetMs: null });
    const storeFailure = readPart('store', () => sources.store?.() ?? null, null);
    const cameras = readPart('cameras', () => sources.cameras(), []);

    const [board, freeMb, space, writtenMbDay, volatility] = await Promise.all([
      this.#deps.board.sample(),
      readFreeMemoryMb(this.#root),
      this.#disk.read(),
      this.#writes.sample(vision?.pid == null ? [] : [vision.pid]),
      // Read once, because a network disk that does not respond must not delay a heartbeat.
      (this.#volatility ??= findVolatility(stateDir, this.#root)),
    ]);

    const record: Omit<Health, 'degraded'> = {
      schema: 'swellsight.health/1',
      boot_id: bootId,
      seq: Math.max(1, this.#seq),
      at: isoTime(clock.nowMs()),
      uptime_s: round(Math.max(0, clock.monoMs() - this.#startedMonoMs) / 1000, 0),
      agent_version: version,
      cpu: { load1: round(loadavg()[0] ?? 0, 2), temp_c: board.tempC, throttled: board.throttled },
      memory: {
        rss_mb: round(process.memoryUsage.rss() / BYTES_PER_MB, 1),
        vision_rss_mb: vision === null ? null : round(vision.stats.rssMb, 1),
        free_mb: freeMb,
      },
      disk: {
        free_mb: space.freeMb,
        used_pct: space.usedPct,
        written_mb_day: writtenMbDay,
        life_used_pct: board.lifeUsedPct,
        pre_eol: board.preEol,
        volatile: volatility === 'memory',
      },
      power: {
        under_voltage: board.underVoltage,
        hot_surface: board.hotSurface,
        over_current_1h: board.overCurrent1h,
      },
      capture: { slowdown: board.slowdown.factor, reason: board.slowdown.reason },
      clock: { synced: clockState.synced, offset_ms: roundOrNull(clockState.offsetMs, 3) },
      link: {
        connected_since: timeOrNull(link?.connectedSinceMs),
        reconnects_1h: link?.reconnects1h ?? 0,
        rtt_ms: roundOrNull(link?.rttMs, 1),
        broker: link?.broker ?? null,
      },
      cameras: cameras.map((camera) => ({
        id: camera.id,
        state: camera.state,
        last_frame_age_s: roundOrNull(camera.lastFrameAgeS, 1),
        failures_1h: camera.failures1h,
        next_run_at: timeOrNull(camera.nextRunAtMs),
      })),
      inference: {
        provider: vision?.provider ?? null,
        p50_ms: roundOrNull(vision?.stats.p50Ms, 1),
        p95_ms: roundOrNull(vision?.stats.p95Ms, 1),
        failures_1h: vision?.stats.failures1h ?? 0,
        restarts: vision?.stats.restarts ?? 0,
      },
      model: {
        name: model?.name ?? null,
        version: model?.version ?? null,
        digest: model?.digest ?? null,
        phase: model?.phase ?? 'unknown',
      },
      outbox: {
        depth: outbox?.depth ?? 0,
        oldest_age_s: roundOrNull(outbox?.oldestAgeS, 1),
        dropped_total: outbox?.droppedTotal ?? this.#droppedTotal,
      },
    };
    const degraded = findDegradedCodes(record, {
      visionReady: vision === null ? null : vision.stats.ready,
      modelTrusted: model?.trusted ?? true,
      modelExpiryChecked: model?.expiryChecked ?? true,
      movedCameras: cameras.filter(({ isMoved }) => isMoved).map(({ id }) => id),
      droppedBefore: this.#droppedTotal,
      maxWrittenMbDay: this.#deps.limits().maxWrittenMbDay,
      storeFailure,
      linkFaults: link?.faults ?? [],
      failedParts,
    });
    return { ...record, degraded };
  }
}

const round = (value: number, digits: number): number => Number(value.toFixed(digits));

/** Null for an unknown value and for NaN, which JSON does not have. */
const roundOrNull = (value: number | null | undefined, digits: number): number | null =>
  value == null || !Number.isFinite(value) ? null : round(value, digits);

/** A wall clock time; null when it is unknown or outside the range of a Date. */
const timeOrNull = (ms: number | null | undefined): string | null =>
  ms == null || Number.isNaN(new Date(ms).getTime()) ? null : isoTime(ms);
