import { isoTime } from '../base/clock.ts';
import type { AnalysisResult } from '../contract/analysis.ts';
import type { ObservationDraft } from '../store/types.ts';

/** The record of one image in the fields of SwellSight's published API. */
export function analysisResult(
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
