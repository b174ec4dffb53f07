import { isoTime } from '../base/clock.ts';
import type { AgentError } from '../base/errors.ts';
import { systemTimeZone } from '../base/time-zone.ts';
import type { Failure } from '../contract/observation.ts';
import type { CameraView, LinkView } from '../contract/openapi/views.ts';
import type { SeaStateRecord } from '../contract/sea-state.ts';
import type { LinkStats } from '../mqtt/types.ts';
import type { CameraRunner } from '../observation/camera-runner.ts';

export function linkView(stats: LinkStats): LinkView {
  const { broker, connectedSinceMs, protocolVersion, faults = [], failure = null } = stats;
  return {
    broker,
    connected_since: connectedSinceMs === null ? null : isoTime(connectedSinceMs),
    protocol_version: protocolVersion,
    faults: [...faults],
    failure: failure && failureView(failure),
  };
}

export function failureView({ code, message, context, hint }: AgentError): Failure {
  const reason = context['reason'];
  return { code, message: typeof reason === 'string' ? `${message} (${reason})` : message, hint };
}

export function cameraView(camera: CameraRunner, newestSeaState: SeaStateRecord | null): CameraView {
  const nextRunAtMs = camera.schedule.nextRunAtMs();
  const truth = camera.latestFrame?.truth;
  const { schedule, location, units, roi, privacyMasks, seaState } = camera.settings;
  return {
    id: camera.id,
    kind: camera.settings.kind,
    schedule: camera.schedule.description,
    state: camera.state(),
    next_run_at: nextRunAtMs === null ? null : isoTime(nextRunAtMs),
    latest: camera.latest,
    sea_state: newestSeaState,
    calibration: camera.calibrationSummary(),
    failure: camera.failure && failureView(camera.failure),
    truth: truth ? { height_m: truth.heightM, period_s: truth.periodS } : null,
    time_zone: schedule.timezone ?? systemTimeZone(),
    location,
    units,
    roi,
    privacy_masks: [...privacyMasks],
    shore_lines: [...(seaState?.lines ?? [])],
  };
}
