import type { CameraCondition } from '../../contract/health.ts';
import type { Observation } from '../../contract/observation.ts';
import type { Event } from '../../contract/states.ts';
import { CAMERA_STATES } from './device-parts.ts';
import type { Fields } from './payload.ts';

const RECORD_STATUSES = [
  'measured',
  'rejected',
  'failed',
  'skipped',
] as const satisfies Observation['status'][];
const BASES = ['model_head', 'site_calibrated', 'site_median'] as const;
const SEVERITIES = ['info', 'warning', 'error'] as const satisfies Event['severity'][];

export interface CameraStatePart {
  readonly state: CameraCondition;
  readonly reason: string | null;
  readonly sinceMs: number | null;
}

export function readCameraState(fields: Fields): CameraStatePart | null {
  const state = fields.oneOf('state', CAMERA_STATES);
  if (state === null) return null;
  return { state, reason: fields.text('reason', 64), sinceMs: fields.timeMs('since') };
}

/** The part of an observation that the page shows. */
export interface ObservationPart {
  readonly id: string | null;
  readonly status: Observation['status'];
  readonly reasons: readonly string[];
  readonly capturedMs: number | null;
  readonly heightM: number | null;
  readonly lowM: number | null;
  readonly highM: number | null;
  readonly basis: (typeof BASES)[number] | null;
  readonly periodS: number | null;
  readonly periodLowS: number | null;
  readonly periodHighS: number | null;
  readonly quality01: number | null;
  readonly labels: number | null;
  readonly isSimulated: boolean;
}

export function readObservation(fields: Fields): ObservationPart | null {
  const status = fields.oneOf('status', RECORD_STATUSES);
  const wave = fields.object('wave');
  if (status === null || wave === null) return null;
  const metres = (name: string): number | null => wave.number(name, 0, 100);
  const seconds = (name: string): number | null => wave.number(name, 0, 1000);
  return {
    id: fields.text('id', 64),
    status,
    reasons: fields.texts('reasons') ?? [],
    capturedMs: fields.timeMs('captured_at'),
    heightM: metres('height_m'),
    lowM: metres('height_low_m'),
    highM: metres('height_high_m'),
    basis: wave.oneOf('height_basis', BASES),
    periodS: seconds('period_s'),
    periodLowS: seconds('period_low_s'),
    periodHighS: seconds('period_high_s'),
    quality01: fields.object('quality')?.number('score', 0, 1) ?? null,
    labels: fields.object('calibration')?.number('labels', 0) ?? null,
    isSimulated: fields.flag('simulated') === true,
  };
}

export interface EventPart {
  readonly id: string | null;
  readonly atMs: number | null;
  readonly type: string;
  readonly severity: Event['severity'];
  readonly code: string;
  readonly message: string;
}

export function readEvent(fields: Fields): EventPart | null {
  const [type, code] = [fields.text('type', 64), fields.text('code', 64)];
  const severity = fields.oneOf('severity', SEVERITIES);
  if (type === null || code === null || severity === null) return null;
  return {
    id: fields.text('id', 64),
    atMs: fields.timeMs('at'),
    type,
    severity,
    code,
    message: fields.text('message', 500) ?? '',
  };
}
