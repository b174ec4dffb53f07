import type { CameraCondition } from '../contract/health.ts';
import type { LinkStats } from '../mqtt/types.ts';
import type { OutboxStats } from '../store/types.ts';
import type { VisionStats } from '../vision/protocol.ts';

/** What is known of the wall clock's truth. */
export interface ClockState {
  /** The system says that a time source has set the clock and still does. */
  readonly synced: boolean;
  /** What is still being corrected, ms, positive when the clock is behind; null when unknown or not synced. */
  readonly offsetMs: number | null;
}

export interface CameraHealth {
  readonly id: string;
  readonly state: CameraCondition;
  readonly lastFrameAgeS: number | null;
  readonly failures1h: number;
  /** Wall clock. */
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
  /** onnxruntime's name of the provider that runs; null before the first start. */
  readonly provider: string | null;
  /** The child's process id, whose writes are counted too. */
  readonly pid: number | null;
}

/** Where the heartbeat takes its values from; each may throw, which costs that part of the record and nothing else. */
export interface HealthSources {
  cameras(): readonly CameraHealth[];
  link(): LinkStats;
  /** Null when no vision process is wanted. */
  vision(): VisionHealth | null;
  outbox(): OutboxStats;
  model(): ModelHealth;
  clock(): ClockState;
  /** Why records cannot be stored now; null when they can. */
  store?(): string | null;
}
