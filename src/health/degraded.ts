import type { Health } from '../contract/health.ts';

/**
 * The codes in `degraded` of a heartbeat and their meaning. `{id}` is the id of a camera, `{feature}` of docs/brokers.md, `{part}` the part of the record
 * that could not be read. docs/health.md lists the same codes; a test compares the two lists.
 */
export const DEGRADED_CODES = {
  clock_unsynced: 'no time source has set the clock; times may be wrong',
  clock_offset: 'the clock is off by a second or more and is corrected slowly',
  link_down: 'no connection to the broker',
  link_flapping: 'at least five reconnects in the last hour',
  link_refused: 'the broker refuses the credentials, its certificate is not trusted, or it lacks QoS 1',
  link_contested: 'another agent used the identity of this device in the last hour',
  commands_refused: 'the broker refuses the subscription to commands',
  'certificate_expiring:{whose}': 'the certificate of the device or the broker expires soon, or has expired',
  credentials_unusable:
    'certificate, key or password files are incomplete; the previous ones are in use, and without them there is no connection',
  'broker_limits:{feature}': 'the broker does not support this feature; the agent works without it',
  'camera_down:{id}': 'the camera delivers no frames',
  'camera_frozen:{id}': 'the camera delivers the same frame again and again',
  'camera_obstructed:{id}': 'something covers the lens',
  'view_changed:{id}':
    'the camera was moved: it gives no heights; its labels are kept for its former position',
  vision_down: 'the vision process is not running',
  inference_failing: 'at least five failed analyses in the last hour',
  model_missing: 'no model is active',
  unsigned_model: 'the model runs without a valid signature (model.allowUnsigned)',
  model_expiry_unchecked:
    'the clock had never been synchronised when the model was installed: its signatures may have expired; install it again',
  outbox_backlog: 'the oldest unsent record is older than 15 minutes',
  outbox_dropping: 'unsent records were dropped since the last heartbeat',
  store_full: 'the disk is full and nothing can be deleted: records are lost',
  store_failed: 'writing to the disk fails, or the disk is gone: records are lost',
  store_corrupt: 'the database is damaged; the next start sets it aside',
  disk_low: 'less than 200 MB or 5 % of the disk is free (below 1 GB: less than 20 %)',
  disk_worn: 'the eMMC has used 90 % of its life, or warns of its end',
  writes_high: 'the agent writes more a day than health.maxWrittenMbDay: a card wears out early',
  state_volatile: 'the state directory is in memory: the next boot loses labels and unsent records',
  memory_low: 'less than 64 MB of memory is free',
  temperature_high: 'the processor has 80 degrees Celsius or more',
  throttled: 'the board throttles the processor, or its voltage is too low',
  under_voltage: 'the supply voltage of the board is too low',
  hot_surface: 'the case of the board is too hot to touch',
  over_current: 'over-current events throttled the board within the last hour',
  capture_slowed: 'heat or low power: cameras with an interval schedule observe less often',
  'probe_failed:{part}': 'this part of the heartbeat could not be read',
} as const;

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
  readonly linkFaults?: readonly string[];
  /** Code `store_*` while records cannot be stored. */
  readonly storeFailure?: string | null;
  /** MiB per day; 0 for no limit. */
  readonly maxWrittenMbDay?: number;
  /** Ids of the cameras that show none of their labelled views. */
  readonly movedCameras?: readonly string[];
  /** Sources that threw. Their parts of the record are not checked. */
  readonly failedParts: readonly string[];
}

/** The codes for one record, in the order of the table above; empty when everything is normal. */
export function findDegradedCodes(health: Omit<Health, 'degraded'>, context: DegradedContext): string[] {
  const codes: string[] = [];
  const add = (condition: boolean, code: string): void => {
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
  if (context.storeFailure != null) codes.push(context.storeFailure);
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

const isBelow = (value: number | null, limit: number): boolean => value !== null && value < limit;
