import { mean, median } from '../base/statistics.ts';
import type { HeightEstimate } from '../calibration/types.ts';
import { isoTime } from '../base/clock.ts';
import type { ErrorCode } from '../base/errors.ts';
import { timeOrderedUuid } from '../base/uuid.ts';
import type { Warning } from '../contract/codes.ts';
import {
  BREAKING_TYPES,
  DIRECTIONS,
  type ModelRef,
  type Observation,
  type Quality,
  type Reason,
  type Wave,
} from '../contract/observation.ts';
import { meanEmbedding, observationReason, usedResults, type Burst } from './burst.ts';
import { NO_PERIOD, type WavePeriod } from './sea-state-reports.ts';
import type { ObservationDraft } from '../store/types.ts';
import type { ClassValue, FrameResult } from '../vision/protocol.ts';

const FEET_PER_METRE = 1 / 0.3048;
/** Smallest height for `extreme: true`. */
const EXTREME_HEIGHT_M = 4;

/** Values of the agent that each record carries. */
export interface RecordContext {
  readonly site: string;
  readonly device: string;
  readonly camera: string;
  readonly bootId: string;
  readonly model: ModelRef | null;
  readonly provider: string | null;
  readonly clock: { readonly synced: boolean; readonly offset_ms: number | null };
  /** Of the newest clip of the camera; default: unknown. */
  readonly period?: WavePeriod;
  /** Default false. */
  readonly simulated?: boolean;
}

export interface RecordInput {
  readonly dueAtMs: number;
  readonly dueMonoMs: number;
  readonly framesRequested: number;
  /** Null for a skipped slot. */
  readonly burst: Burst | null;
  readonly skipped: Reason | null;
  /** Number of slots that a skipped record represents, at least 1. */
  readonly covers: number;
  readonly frozen: boolean | null;
  readonly moved: boolean | null;
  readonly estimate: HeightEstimate;
}

const round = (value: number, digits: number): number => Number(value.toFixed(digits));
const roundOrNull = (value: number | null, digits: number): number | null =>
  value === null ? null : round(value, digits);

/** The label with the highest mean probability over the burst. */
function vote<T extends string>(
  values: readonly ClassValue[],
  allowed: readonly T[],
): { label: T; probability01: number } | null {
  let best: { label: T; probability01: number } | null = null;
  for (const label of allowed) {
    const probabilities = values.flatMap((value) =>
      value.all.filter((one) => one.label === label).map((one) => one.probability01),
    );
    const probability01 = mean(probabilities);
    if (probability01 !== null && (best === null || probability01 > best.probability01))
      best = { label, probability01 };
  }
  return best;
}

interface Height {
  readonly heightM: number | null;
  readonly lowM: number | null;
  readonly highM: number | null;
  readonly coverage: number | null;
  readonly basis: Wave['height_basis'];
  readonly reason: Reason | null;
}

/** The height of the model's own head if it has one, else of the site calibration. */
function heightOf(used: readonly FrameResult[], estimate: HeightEstimate): Height {
  const heads = used.flatMap((result) => result.heads?.waveHeight ?? []);
  const heightM = median(heads.map((head) => head.heightM));
  if (heightM === null) {
    const { basis, reason, lowM, highM, coverage } = estimate;
    // Calibration needs an embedding: without one, asking people for labels is pointless.
    const missing = meanEmbedding(used) === null ? 'no_height_head' : reason;
    return { heightM: estimate.heightM, lowM, highM, coverage, basis, reason: missing };
  }
  return {
    heightM: Math.max(0, heightM),
    lowM: median(heads.flatMap((head) => head.lowM ?? [])),
    highM: median(heads.flatMap((head) => head.highM ?? [])),
    coverage: heads[0]?.coverage ?? null,
    basis: 'model_head',
    reason: null,
  };
}

/** h / (h + half width of the interval), 0..1; null without an interval. */
function heightConfidence({ heightM, lowM, highM }: Height): number | null {
  if (heightM === null || lowM === null || highM === null) return null;
  const halfWidthM = Math.max(0, (highM - lowM) / 2);
  return heightM + halfWidthM === 0 ? 1 : heightM / (heightM + halfWidthM);
}

export const NO_WAVE: Wave = {
  height_m: null,
  height_ft: null,
  height_low_m: null,
  height_high_m: null,
  interval_coverage: null,
  height_basis: null,
  direction: null,
  breaking_type: null,
  ...NO_PERIOD,
  confidence: { height: null, direction: null, breaking: null, overall: null },
  extreme: null,
};

function waveOf(used: readonly FrameResult[], height: Height): Wave {
  const direction = vote(
    used.flatMap((result) => result.heads?.waveDirection ?? []),
    DIRECTIONS,
  );
  const breaking = vote(
    used.flatMap((result) => result.heads?.breakingType ?? []),
    BREAKING_TYPES,
  );
  const confidence = {
    height: roundOrNull(heightConfidence(height), 3),
    direction: roundOrNull(direction?.probability01 ?? null, 3),
    breaking: roundOrNull(breaking?.probability01 ?? null, 3),
  };
  const known = Object.values(confidence).filter((value) => value !== null);
  return {
    height_m: roundOrNull(height.heightM, 3),
    height_ft: height.heightM === null ? null : round(height.heightM * FEET_PER_METRE, 2),
    height_low_m: roundOrNull(height.lowM === null ? null : Math.max(0, height.lowM), 3),
    height_high_m: roundOrNull(height.highM, 3),
    interval_coverage: height.coverage,
    height_basis: height.basis,
    direction: direction?.label ?? null,
    breaking_type: breaking?.label ?? null,
    ...NO_PERIOD,
    confidence: { ...confidence, overall: known.length === 0 ? null : Math.min(...known) },
    extreme: height.heightM === null ? null : height.heightM >= EXTREME_HEIGHT_M,
  };
}

/** Mean quality of the burst. Shares (dark, blur, fog) are the fraction of frames that the gate rejected for that reason. */
function qualityOf(results: readonly FrameResult[], frozen: boolean | null, moved: boolean | null): Quality {
  const share = (reason: FrameResult['quality']['reasons'][number]): number | null =>
    roundOrNull(mean(results.map(({ quality }) => (quality.reasons.includes(reason) ? 1 : 0))), 3);
  return {
    score: roundOrNull(mean(results.map(({ quality }) => quality.score01)), 3),
    glare: roundOrNull(mean(results.map(({ quality }) => quality.signals.glare01)), 4),
    dark: share('dark'),
    blur: share('blur'),
    fog: share('fog'),
    obstruction: roundOrNull(mean(results.map(({ quality }) => quality.signals.obstruction01)), 4),
    frozen,
    moved,
  };
}

/** Reasons of rejected frames, the most frequent first. */
function gateReasons(results: readonly FrameResult[]): Reason[] {
  const counts = new Map<Reason, number>();
  for (const { quality } of results)
    for (const reason of quality.reasons) counts.set(reason, (counts.get(reason) ?? 0) + 1);
  return [...counts].sort((a, b) => b[1] - a[1]).map(([reason]) => reason);
}

function verdict(
  input: RecordInput,
  used: readonly FrameResult[],
  height: Height,
): { status: Observation['status']; reasons: Reason[] } {
  const { burst } = input;
  if (burst === null) return { status: 'skipped', reasons: [input.skipped ?? 'internal'] };
  if (input.frozen === true) return { status: 'rejected', reasons: ['frozen'] };
  if (used.length > 0)
    return { status: 'measured', reasons: height.heightM === null && height.reason ? [height.reason] : [] };
  if (burst.results.length > 0) return { status: 'rejected', reasons: gateReasons(burst.results) };
  return { status: 'failed', reasons: [...new Set(burst.failures.map(observationReason))] };
}

function warningsOf(input: RecordInput, used: readonly FrameResult[]): (Warning | ErrorCode)[] {
  const { burst, covers } = input;
  if (covers > 1) return [`stands_for_${covers}_slots`];
  if (burst === null || used.length === 0) return [];
  const warnings: (Warning | ErrorCode)[] = [];
  if (used.length < input.framesRequested) warnings.push('partial_burst');
  if (burst.results.some(({ quality }) => quality.reasons.length > 0)) warnings.push('frames_rejected');
  for (const { code } of [...burst.failures, ...burst.frameFaults])
    if (!warnings.includes(code)) warnings.push(code);
  return warnings;
}

/** The record of one slot. Values that were not measured are null, never 0. */
export function buildRecord(context: RecordContext, input: RecordInput): ObservationDraft {
  const { burst } = input;
  const results = burst?.results ?? [];
  const used = burst ? usedResults(burst) : [];
  const height = heightOf(used, input.estimate);
  const { status, reasons } = verdict(input, used, height);
  const wave = {
    ...(status === 'measured' ? waveOf(used, height) : NO_WAVE),
    ...(context.period ?? NO_PERIOD),
  };
  const first = burst?.frames[0];
  const last = burst?.frames.at(-1);
  const capturedAtMs = first?.capturedAtMs ?? input.dueAtMs;
  const timing = (part: keyof FrameResult['timingMs']): number | null =>
    roundOrNull(median(results.map((result) => result.timingMs[part])), 2);
  return {
    schema: 'swellsight.observation/1',
    id: timeOrderedUuid(capturedAtMs),
    site: context.site,
    device: context.device,
    camera: context.camera,
    boot_id: context.bootId,
    captured_at: isoTime(capturedAtMs),
    mono_ms: round(first?.monoMs ?? input.dueMonoMs, 1),
    clock: context.clock,
    status,
    has_height: wave.height_m !== null,
    reasons,
    burst: {
      requested: input.framesRequested,
      used: status === 'measured' ? used.length : 0,
      span_s: first && last ? round(Math.max(0, last.monoMs - first.monoMs) / 1000, 3) : null,
    },
    wave,
    calibration: input.estimate.summary,
    quality: qualityOf(results, input.frozen, input.moved),
    model: context.model,
    provider: context.provider,
    timing_ms: {
      capture: roundOrNull(burst?.captureMs ?? null, 1),
      decode: timing('decode'),
      preprocess: timing('preprocess'),
      inference: timing('inference'),
      total: roundOrNull(burst?.totalMs ?? null, 1),
    },
    warnings: warningsOf(input, used),
    simulated: context.simulated ?? false,
  };
}
