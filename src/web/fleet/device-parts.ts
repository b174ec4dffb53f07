import type { CameraCondition } from '../../contract/health.ts';
import type { Status } from '../../contract/states.ts';
import type { Fields } from './payload.ts';

// Values, not imports: a module of the contract has schemas, which the page does not need. The tests compare them.
export const STATUS_STATES = [
  'starting',
  'online',
  'stopped',
  'offline',
] as const satisfies Status['state'][];
export const CAMERA_STATES = [
  'starting',
  'up',
  'down',
  'frozen',
  'obstructed',
] as const satisfies CameraCondition[];

export interface StatusPart {
  readonly state: Status['state'];
  /** By the clock of the device. */
  readonly atMs: number | null;
}

export function readStatus(fields: Fields): StatusPart | null {
  const state = fields.oneOf('state', STATUS_STATES);
  return state === null ? null : { state, atMs: fields.timeMs('at') };
}

export interface HeartbeatCamera {
  readonly id: string;
  readonly state: CameraCondition | null;
  readonly lastFrameAgeS: number | null;
  readonly failures1h: number | null;
  /** From the time of the heartbeat to the next slot, ms. */
  readonly untilSlotMs: number | null;
}

export interface Heartbeat {
  readonly atMs: number;
  readonly seq: number | null;
  readonly bootId: string | null;
  readonly uptimeS: number | null;
  readonly agentVersion: string | null;
  readonly temperatureC: number | null;
  readonly freeMemoryMb: number | null;
  readonly rssMb: number | null;
  readonly diskUsedPct: number | null;
  readonly diskFreeMb: number | null;
  readonly isClockSynced: boolean | null;
  readonly roundTripMs: number | null;
  readonly reconnects1h: number | null;
  readonly provider: string | null;
  readonly inferenceP50Ms: number | null;
  readonly queueDepth: number | null;
  readonly oldestQueuedS: number | null;
  readonly droppedTotal: number | null;
  readonly degraded: readonly string[];
  readonly cameras: readonly HeartbeatCamera[];
  readonly model: ModelName | null;
}

/** Three times the interval of two heartbeats of one run; null when they do not show it. */
export function heartbeatValidMs(before: Heartbeat | null, next: Heartbeat): number | null {
  if (before === null || before.bootId === null || before.bootId !== next.bootId) return null;
  const count = (next.seq ?? 0) - (before.seq ?? 0);
  const intervalMs = count > 0 ? (next.atMs - before.atMs) / count : 0;
  return intervalMs >= 1000 && intervalMs < 3_600_000 ? 3 * intervalMs : null;
}

export interface ModelName {
  readonly name: string;
  readonly version: string;
}

export function readHeartbeat(fields: Fields): Heartbeat | null {
  const atMs = fields.timeMs('at');
  const degraded = fields.texts('degraded');
  const cameras = fields.objects('cameras');
  if (atMs === null || degraded === null || cameras === null) return null;
  const [memory, disk, link] = [fields.object('memory'), fields.object('disk'), fields.object('link')];
  const [inference, outbox] = [fields.object('inference'), fields.object('outbox')];
  return {
    atMs,
    degraded,
    seq: fields.number('seq', 1, Number.MAX_SAFE_INTEGER),
    bootId: fields.text('boot_id', 64),
    uptimeS: fields.number('uptime_s', 0),
    agentVersion: fields.text('agent_version', 64),
    temperatureC: fields.object('cpu')?.number('temp_c', -100, 300) ?? null,
    freeMemoryMb: memory?.number('free_mb', 0) ?? null,
    rssMb: memory?.number('rss_mb', 0) ?? null,
    diskUsedPct: disk?.number('used_pct', 0, 100) ?? null,
    diskFreeMb: disk?.number('free_mb', 0) ?? null,
    isClockSynced: fields.object('clock')?.flag('synced') ?? null,
    roundTripMs: link?.number('rtt_ms', 0) ?? null,
    reconnects1h: link?.number('reconnects_1h', 0) ?? null,
    provider: inference?.text('provider', 64) ?? null,
    inferenceP50Ms: inference?.number('p50_ms', 0) ?? null,
    queueDepth: outbox?.number('depth', 0) ?? null,
    oldestQueuedS: outbox?.number('oldest_age_s', 0) ?? null,
    droppedTotal: outbox?.number('dropped_total', 0) ?? null,
    model: readModelName(fields.object('model')),
    cameras: cameras.flatMap((camera) => {
      const id = camera.text('id', 64);
      const slotMs = camera.timeMs('next_run_at');
      if (id === null || !isTopicName(id)) return [];
      return {
        id,
        state: camera.oneOf('state', CAMERA_STATES),
        lastFrameAgeS: camera.number('last_frame_age_s', 0),
        failures1h: camera.number('failures_1h', 0),
        untilSlotMs: slotMs === null ? null : slotMs - atMs,
      };
    }),
  };
}

function readModelName(fields: Fields | null): ModelName | null {
  const [name, version] = [fields?.text('name', 64) ?? null, fields?.text('version', 64) ?? null];
  return name === null || version === null ? null : { name, version };
}

/** The install of a model, or the update of the agent. */
export interface Progress {
  readonly id: string | null;
  readonly name: string | null;
  readonly version: string | null;
  readonly phase: string;
  /** True from the request to the end of the probation. */
  readonly isRunning: boolean;
  readonly percent: number | null;
  readonly reason: { readonly code: string; readonly message: string | null } | null;
}

/** Phases of an ended one, and of one that waits for its window. */
const NOT_RUNNING = new Set(['committed', 'failed', 'rolled_back', 'returned', 'waiting']);

function readProgress(fields: Fields | null): Progress | null {
  const phase = fields?.text('phase', 40) ?? null;
  if (fields === null || phase === null) return null;
  const reason = fields.object('reason');
  const code = reason?.text('code', 64) ?? null;
  return {
    id: fields.text('update_id', 64),
    name: fields.text('name', 64),
    version: fields.text('version', 64),
    phase,
    isRunning: !NOT_RUNNING.has(phase),
    percent: fields.number('percent', 0, 100),
    reason: code === null ? null : { code, message: reason?.text('message') ?? null },
  };
}

export interface ModelPart {
  readonly active: ModelName | null;
  readonly previous: ModelName | null;
  readonly install: Progress | null;
}

export function readModelState(fields: Fields): ModelPart | null {
  if (fields.text('phase', 40) === null) return null;
  return {
    active: readModelName(fields.object('active')),
    previous: readModelName(fields.object('previous')),
    install: readProgress(fields.object('install')),
  };
}

export interface AgentPart {
  readonly running: string | null;
  readonly update: Progress | null;
}

export function readAgentState(fields: Fields): AgentPart | null {
  const running = fields.object('running');
  if (running === null) return null;
  return { running: running.text('version', 64), update: readProgress(fields.object('update')) };
}

export interface Location {
  readonly lat: number;
  readonly lon: number;
}

export interface InfoPart {
  readonly agentVersion: string | null;
  readonly timeZone: string | null;
  /** Model of the board. */
  readonly board: string | null;
  readonly commands: readonly string[];
  readonly cameras: readonly {
    readonly id: string;
    readonly kind: string | null;
    readonly schedule: string | null;
    readonly timeZone: string | null;
    readonly location: Location | null;
  }[];
}

export function readInfo(fields: Fields): InfoPart | null {
  const cameras = fields.objects('cameras');
  const hardware = fields.object('hardware');
  if (cameras === null || hardware === null) return null;
  return {
    agentVersion: fields.text('agent_version', 64),
    timeZone: fields.text('time_zone', 64),
    board: hardware.text('model') ?? hardware.text('cpu'),
    commands: fields.object('capabilities')?.texts('commands') ?? [],
    cameras: cameras.flatMap((camera) => {
      const id = camera.text('id', 64);
      if (id === null || !isTopicName(id)) return [];
      return {
        id,
        kind: camera.text('kind', 40),
        schedule: camera.text('schedule'),
        timeZone: camera.text('time_zone', 64),
        location: readLocation(camera.object('location')),
      };
    }),
  };
}

function readLocation(fields: Fields | null): Location | null {
  const [lat, lon] = [fields?.number('lat', -90, 90) ?? null, fields?.number('lon', -180, 180) ?? null];
  return lat === null || lon === null ? null : { lat, lon };
}

/** Sites, devices and cameras have names of this kind: other levels of topics were invented. */
export const isTopicName = (text: string): boolean => /^[A-Za-z0-9][A-Za-z0-9_.-]{0,63}$/.test(text);
