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
  /** Frames that the quality gate would reject in operation, used here or not. */
  readonly frames_gated: number;
  /** Distinct views among the labelled bursts. */
  readonly views: number;
  /** Null with fewer than two groups. */
  readonly held_out: {
    readonly ridge: ScoreReport;
    readonly median: ScoreReport;
    /** The agent's rule: ridge where its error is below the median's, else the median. */
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
  /** Of the calibration on all bursts, as the agent would report it. */
  readonly calibration: CalibrationSummary;
  readonly basis: 'site_calibrated' | 'site_median' | null;
  readonly labels_ignored: readonly { readonly burst: string; readonly why: string }[];
  readonly faults: readonly { readonly file: string; readonly why: string }[];
}

/** What `swellsight calibrate --json` prints. */
export interface CalibrateReport {
  readonly schema: 'swellsight.calibrate/1';
  readonly model: ModelRef;
  readonly cameras: readonly CameraReport[];
  readonly rows_refused: readonly { readonly line: number; readonly why: string }[];
  readonly out: string | null;
}

export function cameraReport(
  camera: string,
  readings: readonly BurstReading[],
  outcome: FitOutcome,
  evaluation: Evaluation | null,
): CameraReport {
  const { summary } = outcome;
  const wins =
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
            ridge: scoreReport(evaluation.ridge),
            median: scoreReport(evaluation.median),
            rule: scoreReport(evaluation.rule),
            bursts: evaluation.bursts.map(burstReport),
          },
    calibration: summary,
    basis: summary.labels === 0 ? null : wins ? 'site_calibrated' : 'site_median',
    labels_ignored: outcome.ignored.map(({ observationId, reason }) => ({
      burst: observationId,
      why: reason,
    })),
    faults: readings.flatMap(({ faults }) => faults),
  };
}

/** The report as a table for people. */
export function formatCalibrateReport(report: CalibrateReport): string {
  const lines = [
    `model ${report.model.name} ${report.model.version}; whole groups held out, heights in metres`,
    '',
    'camera     bursts groups frames | ridge  median  rule  | interval: cover  half width | basis',
  ];
  for (const camera of report.cameras) {
    const held = camera.held_out;
    const errors = held
      ? `${metres(held.ridge.mae_m)}  ${metres(held.median.mae_m)}   ${metres(held.rule.mae_m)}`
      : '-      -       -   ';
    const interval = held
      ? `${metres(held.ridge.interval_coverage)}   ${metres(held.ridge.interval_half_width_m)}`
      : '-      -   ';
    lines.push(
      `${camera.camera.padEnd(10)} ${String(camera.bursts).padStart(6)} ${String(camera.groups).padStart(6)} ` +
        `${String(camera.frames_used).padStart(6)} | ${errors}  |           ${interval}       | ${camera.basis ?? 'none'}`,
    );
  }
  lines.push(
    '',
    "ridge: errors of the learned heights; median: of the site's median, which they have to beat;",
  );
  lines.push('rule: of what the agent would publish; interval: of the ridge, nominal cover 0.80.');
  for (const camera of report.cameras) lines.push(...notesOn(camera));
  for (const { line, why } of report.rows_refused) lines.push(`labels line ${line}: ${why}`);
  if (report.out !== null) lines.push(`written: ${report.out}`);
  return lines.join('\n');
}

function notesOn(camera: CameraReport): string[] {
  const notes: string[] = [];
  const { labels_wanted: wanted } = camera.calibration;
  if (wanted > 0) notes.push(`${wanted} more labelled bursts wanted before the ridge is tried`);
  if (camera.views > 1) notes.push(`the labels show ${camera.views} views; each is calibrated by itself`);
  if (camera.frames_gated > 0)
    notes.push(`${camera.frames_gated} frames would be rejected by the quality gate in operation`);
  for (const { file, why } of camera.faults) notes.push(`${file}: ${why}`);
  for (const { burst, why } of camera.labels_ignored) notes.push(`${burst}: ${why}`);
  return notes.map((note) => `${camera.camera}: ${note}`);
}

const metres = (value: number): string => value.toFixed(3);

const scoreReport = (score: MethodScore): ScoreReport => ({
  mae_m: score.maeM,
  interval_coverage: score.coverage01,
  interval_half_width_m: score.halfWidthM,
});

const burstReport = (burst: HeldOutBurst) => ({
  burst: burst.observationId,
  label_m: burst.labelM,
  ridge_m: burst.ridge.heightM,
  median_m: burst.median.heightM,
  low_m: burst.ridge.lowM,
  high_m: burst.ridge.highM,
});
