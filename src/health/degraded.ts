import type { Health } from '../contract/health.ts';

/**
 * What may stand in `degraded` of a heartbeat, and what it means. `:{id}` is a camera's id, `:{part}` the part of the
 * record that could not be filled. docs/health.md lists the same codes; a test holds the two equal.
 */
export const DEGRADED_CODES = {
  clock_unsynced: 'nothing has set the clock; times may be wrong',
  clock_offset: 'the clock is being corrected by a second or more, slowly',
  link_down: 'no connection to the broker',
  link_flapping: 'five and more reconnects in the last hour',
  link_refused: 'the broker refuses the credentials, or its certificate is not trusted',
  link_contested: 'another agent was seen under the identity of this device in the last hour',
  commands_refused: 'the broker refuses the subscription to commands',
  'certificate_expiring:{whose}': 'the certificate of the device or the broker expires soon, or has expired',
  credentials_unusable: 'new certificate, key or password files are not whole; the ones before are in use',
  'camera_down:{id}': 'the camera gives no pictures',
  'camera_frozen:{id}': 'the camera gives the same picture again and again',
  'camera_obstructed:{id}': 'something covers the lens',
  vision_down: 'the vision process does not run',
  inference_failing: 'five and more failed analyses in the last hour',
  model_missing: 'no model is active',
  unsigned_model: 'the model runs without a valid signature (model.allowUnsigned)',
  outbox_backlog: 'the oldest unsent record is older than 15 minutes',
  outbox_dropping: 'records were dropped unsent since the last heartbeat',
  store_full: 'the disk is full, and nothing can be deleted: records are lost',
  store_failed: 'the disk refuses to be written, or is gone: records are lost',
  store_corrupt: 'the database is damaged; it is set aside at the start that follows',
  disk_low: 'less than 200 MB or 5 % of the disk are free',
  memory_low: 'less than 64 MB of memory are free',
  temperature_high: 'the processor is at 80 degrees Celsius or more',
  throttled: 'the board runs slower than it could, or on too little voltage',
  'probe_failed:{part}': 'this part of the heartbeat could not be read',
} as const;

const LIMITS = {
  reconnects1h: 5,
  failures1h: 5,
  outboxAgeS: 15 * 60,
  clockOffsetMs: 1000,
  diskFreeMb: 200,
  diskUsedPct: 95,
  memoryFreeMb: 64,
  temperatureC: 80,
};

/** What the judgement needs beside the record itself. */
export interface DegradedContext {
  /** Null when no vision process is wanted. */
  readonly visionReady: boolean | null;
  readonly modelTrusted: boolean;
  /** `outbox.dropped_total` of the heartbeat before. */
  readonly droppedBefore: number;
  /** What the link itself says is wrong with it. */
  readonly linkTroubles?: readonly string[];
  /** `store_*` when records cannot be stored. */
  readonly storeFailure?: string | null;
  /** Sources that threw: what they would have said is not judged. */
  readonly failedParts: readonly string[];
}

/** The codes for one record, in the order of the table above; empty when all is well. */
export function degradedCodes(health: Omit<Health, 'degraded'>, context: DegradedContext): string[] {
  const codes: string[] = [];
  const add = (condition: boolean, code: string): void => {
    if (condition) codes.push(code);
  };
  const known = (part: string): boolean => !context.failedParts.includes(part);
  const { clock, link, cameras, inference, model, outbox, disk, memory, cpu } = health;

  add(known('clock') && !clock.synced, 'clock_unsynced');
  add(known('clock') && Math.abs(clock.offset_ms ?? 0) >= LIMITS.clockOffsetMs, 'clock_offset');
  add(known('link') && link.connected_since === null, 'link_down');
  add(link.reconnects_1h >= LIMITS.reconnects1h, 'link_flapping');
  codes.push(...(context.linkTroubles ?? []));
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
  add(known('vision') && context.visionReady === false, 'vision_down');
  add(inference.failures_1h >= LIMITS.failures1h, 'inference_failing');
  add(known('model') && model.name === null, 'model_missing');
  add(known('model') && model.name !== null && !context.modelTrusted, 'unsigned_model');
  add((outbox.oldest_age_s ?? 0) > LIMITS.outboxAgeS, 'outbox_backlog');
  add(outbox.dropped_total > context.droppedBefore, 'outbox_dropping');
  if (context.storeFailure != null) codes.push(context.storeFailure);
  add(isBelow(disk.free_mb, LIMITS.diskFreeMb) || (disk.used_pct ?? 0) > LIMITS.diskUsedPct, 'disk_low');
  add(memory.free_mb < LIMITS.memoryFreeMb, 'memory_low');
  add((cpu.temp_c ?? 0) >= LIMITS.temperatureC, 'temperature_high');
  add(cpu.throttled === true, 'throttled');
  for (const part of context.failedParts) codes.push(`probe_failed:${part}`);
  return codes;
}

const isBelow = (value: number | null, limit: number): boolean => value !== null && value < limit;
