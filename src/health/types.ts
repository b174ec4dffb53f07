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
  /** It shows none of its labelled views. */
  readonly isMoved: boolean;
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
  /** False when the expiry of its signatures was not checked. */
  readonly expiryChecked?: boolean;
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

/** How much less often cameras with an interval schedule observe: every `factor`-th slot; the others are recorded as skipped. */
export interface CaptureSlowdown {
  /** 1: every slot. */
  readonly factor: number;
  /** Null with factor 1. */
  readonly reason: 'heat' | 'low_power' | null;
}

/** Heat, power supply and wear of the board. Null: the board does not report it. */
export interface BoardState {
  readonly tempC: number | null;
  /** The board throttles the processor, or its voltage is too low. */
  readonly throttled: boolean | null;
  /** Without short alarms. */
  readonly underVoltage: boolean | null;
  /** Jetson: the case is too hot to touch. */
  readonly hotSurface: boolean | null;
  /** Jetson: over-current events within the last hour. */
  readonly overCurrent1h: number | null;
  /** eMMC: used part of the expected life, percent. */
  readonly lifeUsedPct: number | null;
  readonly preEol: 'normal' | 'warning' | 'urgent' | null;
  readonly slowdown: CaptureSlowdown;
}
