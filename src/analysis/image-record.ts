import { isoTime } from '../base/clock.ts';
import { AgentError } from '../base/errors.ts';
import type { AnalysisResult } from '../contract/analysis.ts';
import type { ModelRef } from '../contract/observation.ts';
import { burstView, meanEmbedding, usedResults, type Burst } from '../observation/burst.ts';
import { estimateHeight, type SiteCalibration } from '../calibration/site-calibration.ts';
import { buildRecord } from '../observation/record.ts';
import type { ObservationDraft } from '../store/types.ts';
import type { FrameResult } from '../vision/protocol.ts';

export interface ImageContext {
  readonly camera: string;
  readonly atMs: number;
  readonly totalMs: number;
  readonly model: ModelRef | null;
  readonly provider: string | null;
  readonly calibration: SiteCalibration | null;
}

/**
 * Describes a single image in the form of an observation: as a burst of one frame. The image does not change what is
 * known about the present view of the camera, because it may have been taken at another time or by another camera.
 */
export function imageRecord(outcome: FrameResult | AgentError, context: ImageContext): ObservationDraft {
  const hasFailed = outcome instanceof AgentError;
  const burst: Burst = {
    frames: [],
    lastFrame: null,
    results: hasFailed ? [] : [outcome],
    failures: hasFailed ? [outcome] : [],
    frameFaults: [],
    cameraFailure: null,
    captureMs: 0,
    totalMs: context.totalMs,
  };
  const used = usedResults(burst);
  const estimate = estimateHeight(context.calibration, meanEmbedding(used), burstView(used), 'upload');
  const { camera, model, provider } = context;
  return buildRecord(
    {
      site: 'local',
      device: 'local',
      camera,
      bootId: '',
      model,
      provider,
      clock: { synced: false, offset_ms: null },
    },
    {
      dueAtMs: context.atMs,
      dueMonoMs: 0,
      framesRequested: 1,
      burst,
      skipped: null,
      covers: 1,
      frozen: null,
      moved: estimate.reason === 'view_changed' ? true : null,
      estimate,
    },
  );
}

/**
 * Converts the record of one image to the fields of SwellSight's published API. The caller sets
 * `processing_time_seconds`, which is 0 here.
 */
export function toAnalysisResult(
  record: ObservationDraft,
  atMs: number,
  camera: string | null,
): AnalysisResult {
  const { wave, status, reasons, quality, model, provider, warnings } = record;
  const { height_low_m: low_meters, height_high_m: high_meters, interval_coverage: coverage } = wave;
  return {
    wave_height_meters: wave.height_m,
    wave_height_feet: wave.height_ft,
    wave_direction: wave.direction,
    breaking_type: wave.breaking_type,
    confidence_scores: wave.confidence,
    processing_time_seconds: 0,
    extreme_conditions: wave.extreme,
    warnings,
    timestamp: isoTime(atMs),
    status: status === 'measured' ? 'measured' : 'rejected',
    reasons,
    quality,
    model,
    provider,
    cached: false,
    interval: low_meters === null || high_meters === null ? null : { low_meters, high_meters, coverage },
    height_basis: wave.height_basis,
    camera,
  };
}
