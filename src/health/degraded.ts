import { DEGRADED_CODES, type DegradedCode } from '../contract/codes.ts';
import type { Health } from '../contract/health.ts';

const LIMITS = {
  reconnects1h: 5,
  failures1h: 5,
  outboxAgeS: 15 * 60,
  clockOffsetMs: 1000,
  minDiskFreeMb: 200,
  maxDiskUsedPct: 95,
  /** On a disk below 1 GB, less than `minDiskFreeMb` may be free as long as at most this much is used. */
  maxSmallDiskUsedPct: 80,
  lifeUsedPct: 90,
  minMemoryFreeMb: 64,
  temperatureC: 80,
};

/** Facts that the record itself does not contain. */
export interface DegradedContext {
  /** Null when no vision process is needed. */
  readonly visionReady: boolean | null;
  readonly modelTrusted: boolean;
  readonly modelExpiryChecked?: boolean;
  /** `outbox.dropped_total` of the previous heartbeat. */
  readonly droppedBefore: number;
  /** Codes that the link reports. */
  readonly linkFaults?: readonly DegradedCode[];
  /** Code `store_*` while records cannot be stored. */
  readonly storeFailure?: string | null;
  /** MiB per day; 0 for no limit. */
  readonly maxWrittenMbDay?: number;
  /** Ids of the cameras that show none of their labelled views. */
  readonly movedCameras?: readonly string[];
  /** Sources that threw. Their parts of the record are not checked. */
  readonly failedParts: readonly string[];
}

/** The codes for one record, in the order of `DEGRADED_CODES`; empty when everything is normal. */
export function findDegradedCodes(
  health: Omit<Health, 'degraded'>,
  context: DegradedContext,
): DegradedCode[] {
  const codes: DegradedCode[] = [];
  const add = (condition: boolean, code: DegradedCode): void => {
    if (condition) codes.push(code);
  };
  const isKnown = (part: string): boolean => !context.failedParts.includes(part);
  const { clock, link, cameras, inference, model, outbox, disk, memory, cpu, power, capture } = health;

  add(isKnown('clock') && !clock.synced, 'clock_unsynced');
  add(isKnown('clock') && Math.abs(clock.offset_ms ?? 0) >= LIMITS.clockOffsetMs, 'clock_offset');
  add(isKnown('link') && link.connected_since === null, 'link_down');
  add(link.reconnects_1h >= LIMITS.reconnects1h, 'link_flapping');
  codes.push(...(context.linkFaults ?? []));
  for (const { id, state } of cameras) {
    switch (state) {
      case 'down':
      case 'frozen':
      case 'obstructed':
        codes.push(`camera_${state}:${id}`);
        break;
      case 'starting':
      case 'up':
        break;
    }
  }
  for (const id of context.movedCameras ?? []) codes.push(`view_changed:${id}`);
  add(isKnown('vision') && context.visionReady === false, 'vision_down');
  add(inference.failures_1h >= LIMITS.failures1h, 'inference_failing');
  add(isKnown('model') && model.name === null, 'model_missing');
  add(isKnown('model') && model.name !== null && !context.modelTrusted, 'unsigned_model');
  add(isKnown('model') && context.modelExpiryChecked === false, 'model_expiry_unchecked');
  add((outbox.oldest_age_s ?? 0) > LIMITS.outboxAgeS, 'outbox_backlog');
  add(outbox.dropped_total > context.droppedBefore, 'outbox_dropping');
  if (context.storeFailure != null)
    codes.push(isStoreFailure(context.storeFailure) ? context.storeFailure : 'store_failed');
  add(
    (isBelow(disk.free_mb, LIMITS.minDiskFreeMb) && (disk.used_pct ?? 100) > LIMITS.maxSmallDiskUsedPct) ||
      (disk.used_pct ?? 0) > LIMITS.maxDiskUsedPct,
    'disk_low',
  );
  const isEolNear = disk.pre_eol === 'warning' || disk.pre_eol === 'urgent';
  add(isEolNear || (disk.life_used_pct ?? 0) >= LIMITS.lifeUsedPct, 'disk_worn');
  add((disk.written_mb_day ?? 0) > (context.maxWrittenMbDay || Infinity), 'writes_high');
  add(disk.volatile === true, 'state_volatile');
  add(memory.free_mb < LIMITS.minMemoryFreeMb, 'memory_low');
  add((cpu.temp_c ?? 0) >= LIMITS.temperatureC, 'temperature_high');
  add(cpu.throttled === true, 'throttled');
  add(power?.under_voltage === true, 'under_voltage');
  add(power?.hot_surface === true, 'hot_surface');
  add((power?.over_current_1h ?? 0) > 0, 'over_current');
  add((capture?.slowdown ?? 1) > 1, 'capture_slowed');
  for (const part of context.failedParts) codes.push(`probe_failed:${part}`);
  return codes;
}

const isStoreFailure = (code: string): code is Extract<DegradedCode, `store_${string}`> =>
  code.startsWith('store_') && Object.hasOwn(DEGRADED_CODES, code);

const isBelow = (value: number | null, limit: number): boolean => value !== null && value < limit;
