// How a consumer judges a device from its messages: docs/consumer-guide.md, "States". The fleet page and `fleet watch` use it.
import type { CameraCondition } from './health.ts';
import type { Status } from './states.ts';

/** The conditions of a device, the worst first. */
export const DEVICE_CONDITIONS = [
  /** The broker has lost it. */
  'offline',
  /** It has sent no heartbeat for three intervals. */
  'stale',
  /** A camera is down, frozen or obstructed, or has missed its slots. */
  'camera_fault',
  /** Its heartbeat has codes in `degraded`. */
  'degraded',
  /** A message of it does not match the contract. */
  'unreadable',
  /** It has no status. */
  'unknown',
  'stopped',
  'starting',
  'updating',
  /** All of its cameras wait for a slot that is far away. */
  'asleep',
  'ok',
] as const;
export type DeviceCondition = (typeof DEVICE_CONDITIONS)[number];

/** The condition of a camera of a device that is online. */
export type CameraStanding = 'overdue' | 'down' | 'frozen' | 'obstructed' | 'starting' | 'asleep' | 'current';

/** Validity of a heartbeat without the property message expiry interval: three intervals of the default. */
export const DEFAULT_HEARTBEAT_VALID_MS = 90_000;
/** A camera whose next slot is further away than this is outside its hours. */
const ASLEEP_AFTER_MS = 15 * 60_000;
/** An online device publishes its heartbeat before `online`. Messages that are sent together arrive within this time. */
const FIRST_HEARTBEAT_MS = 10_000;

/** All times are by the clock of the consumer, ms since the epoch. */
export interface CameraFacts {
  readonly state: CameraCondition | null;
  /** Time of the next slot; null without one. */
  readonly dueMs: number | null;
}

export interface DeviceFacts {
  readonly state: Status['state'] | null;
  /** When the status was received. */
  readonly stateHeardMs: number | null;
  readonly heartbeat: {
    readonly heardMs: number;
    readonly validMs: number;
    readonly degraded: readonly string[];
  } | null;
  readonly cameras: readonly CameraFacts[];
  readonly isUpdating: boolean;
  /** False when the newest message of a topic does not match the contract. */
  readonly isReadable: boolean;
}

/** The condition of a camera, when its device is online and its heartbeat is valid. */
export function cameraStanding(
  { state, dueMs }: CameraFacts,
  validMs: number,
  nowMs: number,
): CameraStanding {
  if (dueMs !== null && nowMs > dueMs + validMs) return 'overdue';
  if (state === 'down' || state === 'frozen' || state === 'obstructed' || state === 'starting') return state;
  return dueMs !== null && dueMs - nowMs > ASLEEP_AFTER_MS ? 'asleep' : 'current';
}

export function deviceCondition(facts: DeviceFacts, nowMs: number): DeviceCondition {
  const { state, stateHeardMs, heartbeat, cameras } = facts;
  if (state === 'offline' || state === 'stopped') return state;
  if (state === 'starting') return heartbeat === null ? 'starting' : conditionOnline(facts, heartbeat, nowMs);
  if (heartbeat !== null) {
    const condition = conditionOnline(facts, heartbeat, nowMs);
    return state === null && (condition === 'ok' || condition === 'asleep') ? 'unknown' : condition;
  }
  if (state === null) return facts.isReadable && cameras.length === 0 ? 'unknown' : 'unreadable';
  return nowMs - (stateHeardMs ?? nowMs) < FIRST_HEARTBEAT_MS ? 'starting' : 'stale';
}

function conditionOnline(
  { state, cameras, isUpdating, isReadable }: DeviceFacts,
  { heardMs, validMs, degraded }: NonNullable<DeviceFacts['heartbeat']>,
  nowMs: number,
): DeviceCondition {
  if (nowMs > heardMs + validMs) return 'stale';
  const standings = cameras.map((camera) => cameraStanding(camera, validMs, nowMs));
  if (
    standings.some((one) => one === 'overdue' || one === 'down' || one === 'frozen' || one === 'obstructed')
  )
    return 'camera_fault';
  if (degraded.length > 0) return 'degraded';
  if (!isReadable) return 'unreadable';
  if (isUpdating) return 'updating';
  if (state === 'starting') return state;
  if (standings.length === 0) return 'ok';
  if (standings.every((one) => one === 'starting')) return 'starting';
  return standings.every((one) => one === 'asleep') ? 'asleep' : 'ok';
}

/** Orders conditions, the worst first. */
export const severityOf = (condition: DeviceCondition): number => DEVICE_CONDITIONS.indexOf(condition);
