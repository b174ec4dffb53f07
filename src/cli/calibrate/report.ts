import type { Evaluation, HeldOutBurst, MethodScore } from '../../calibration/evaluate.ts';
import type { FitOutcome } from '../../calibration/types.ts';
import type { CalibrationSummary, ModelRef } from '../../contract/observation.ts';
import type { BurstReading } from './bursts.ts';

interface ScoreReport {
  readonly mae_m: number;
  readonly interval_coverage: number;
  readonly interval_half_width_m: number;
}

interface CameraReport {
  readonly camera: string;
  readonly bursts: number;
  readonly groups: number;
  readonly frames_used: number;
  /** Number of frames that the quality gate would reject in operation, used here or not. */
  readonly frames_gated: number;
  /** Number of distinct views in the labelled bursts. */
  readonly views: number;
  /** Errors on groups that were not used for the fit; null with fewer than two groups. */
  readonly held_out: {
    readonly ridge: ScoreReport;
    readonly median: ScoreReport;
    /** The rule of the agent: the ridge regression if its error is below that of the median, else the median. */
    readonly rule: ScoreReport;
    readonly bursts: readonly {
      readonly burst: string;
      readonly label_m: number;
      readonly ridge_m: number;
      readonly median_m: number;
      readonly low_m: number;
      readonly high_m: number;
    }[];
  } | null;
  /** The calibration on all bursts, as the agent reports it. */
  readonly calibration: CalibrationSummary;
  readonly basis: 'site_calibrated' | 'site_median' | null;
  readonly labels_ignored: readonly { readonly burst: string; readonly why: string }[];
  readonly faults: readonly { readonly file: string; readonly why: string }[];
}

/** The output of `swellsight calibrate --json`. */
export interface CalibrateReport {
  readonly schema: 'swellsight.calibrate/1';
  readonly model: ModelRef;
  readonly cameras: readonly CameraReport[];
  readonly rows_refused: readonly { readonly line: number; readonly why: string }[];
  readonly out: string | null;
}

export function buildCameraReport(
  camera: string,
  readings: readonly BurstReading[],
  outcome: FitOutcome,
  evaluation: Evaluation | null,
): CameraReport {
  const { summary } = outcome;
  const isRidgeBetter =
    summary.labels_wanted === 0 &&
    summary.loo_mae_m !== null &&
    summary.loo_median_mae_m !== null &&
    summary.loo_mae_m < summary.loo_median_mae_m;
  return {
    camera,
    bursts: readings.filter(({ burst }) => burst !== null).length,
    groups: new Set(readings.flatMap(({ burst }) => (burst === null ? [] : [burst.label.group]))).size,
    frames_used: readings.reduce((sum, { framesUsed }) => sum + framesUsed, 0),
    frames_gated: readings.reduce((sum, { gated }) => sum + gated, 0),
    views: outcome.views,
    held_out:
      evaluation === null
        ? null
        : {
            ridge: toScoreReport(evaluation.ridge),
            median: toScoreReport(evaluation.median),
            rule: toScoreReport(evaluation.rule),
            bursts: evaluation.bursts.map(toBurstReport),
          },
    calibration: summary,
    basis: summary.labels === 0 ? null : isRidgeBetter ? 'site_calibrated' : 'site_median',
    labels_ignored: outcome.ignored.map(({ observationId, reason }) => ({
      burst: observationId,
      why: reason,
    })),
    faults: readings.flatMap(({ faults }) => faults),
  };
}

export function formatCalibrateReport(report: CalibrateReport): string[] {
  const lines = [
    `model ${report.model.name} ${report.model.version}; errors on held-out groups, in metres`,
    '',
    'camera     bursts groups frames | ridge  median  rule  | interval: cover  half width | basis',
  ];
  for (const camera of report.cameras) {
    const held = camera.held_out;
    const errors = held
      ? `${formatMetres(held.ridge.mae_m)}  ${formatMetres(held.median.mae_m)}   ${formatMetres(held.rule.mae_m)}`
      : '-      -       -   ';
    const interval = held
      ? `${formatMetres(held.ridge.interval_coverage)}   ${formatMetres(held.ridge.interval_half_width_m)}`
      : '-      -   ';
    lines.push(
      `${camera.camera.padEnd(10)} ${String(camera.bursts).padStart(6)} ${String(camera.groups).padStart(6)} ` +
        `${String(camera.frames_used).padStart(6)} | ${errors}  |           ${interval}       | ${camera.basis ?? 'none'}`,
    );
  }
  lines.push(
    '',
    'ridge: error of the ridge regression; median: error of the median of the labels;',
    'rule: error of the heights that the agent publishes; interval: of the ridge regression, nominal cover 0.80.',
  );
  for (const camera of report.cameras) lines.push(...listNotes(camera));
  for (const { line, why } of report.rows_refused) lines.push(`labels line ${line}: ${why}`);
  if (report.out !== null) lines.push(`written: ${report.out}`);
  return lines;
}

function listNotes(camera: CameraReport): string[] {
  const notes: string[] = [];
  const { labels_wanted: wanted } = camera.calibration;
  if (wanted > 0) notes.push(`${wanted} more labelled sessions needed before the ridge regression is tried`);
  if (camera.views > 1)
    notes.push(`the labelled bursts show ${camera.views} views; each has its own calibration`);
  if (camera.frames_gated > 0)
    notes.push(`the quality gate would reject ${camera.frames_gated} frames in operation`);
  for (const { file, why } of camera.faults) notes.push(`${file}: ${why}`);
  for (const { burst, why } of camera.labels_ignored) notes.push(`${burst}: ${why}`);
  return notes.map((note) => `${camera.camera}: ${note}`);
}

const formatMetres = (value: number): string => value.toFixed(3);

const toScoreReport = (score: MethodScore): ScoreReport => ({
  mae_m: score.maeM,
  interval_coverage: score.coverage01,
  interval_half_width_m: score.halfWidthM,
});

const toBurstReport = (burst: HeldOutBurst) => ({
  burst: burst.observationId,
  label_m: burst.labelM,
  ridge_m: burst.ridge.heightM,
  median_m: burst.median.heightM,
  low_m: burst.ridge.lowM,
  high_m: burst.ridge.highM,
});
