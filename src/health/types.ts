import type { CameraCondition } from '../contract/health.ts';
import type { LinkStats } from '../mqtt/types.ts';
import type { OutboxStats } from '../store/types.ts';
import type { VisionStats } from '../vision/protocol.ts';

/** Whether the wall clock is right. */
export interface ClockState {
  /** A time source has set the clock and still keeps it. */
  readonly synced: boolean;
  /** Offset that is still being corrected, ms, positive when the clock is behind; null when unknown or not synchronised. */
  readonly offsetMs: number | null;
}

export interface CameraHealthReport {
  readonly id: string;
  readonly state: CameraCondition;
  readonly lastFrameAgeS: number | null;
  readonly failures1h: number;
  /** Wall clock time. */
  readonly nextRunAtMs: number | null;
}

export interface ModelHealth {
  readonly name: string | null;
  readonly version: string | null;
  readonly digest: string | null;
  readonly phase: string;
  /** False when it runs only because `model.allowUnsigned` is set. */
  readonly trusted: boolean;
}

export interface VisionHealth {
  readonly stats: VisionStats;
  /** onnxruntime's name of the active execution provider; null before the first start. */
  readonly provider: string | null;
  /** Process id of the vision process; its writes to the disk are counted too. */
  readonly pid: number | null;
}

/** The sources of the heartbeat. When one throws, only its part of the record is missing. */
export interface HealthSources {
  cameras(): readonly CameraHealthReport[];
  link(): LinkStats;
  /** Null when no vision process is needed. */
  vision(): VisionHealth | null;
  outbox(): OutboxStats;
  model(): ModelHealth;
  clock(): ClockState;
  /** Code `store_*` while records cannot be stored; null otherwise. */
  store?(): string | null;
}
