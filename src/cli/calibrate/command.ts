import { rename, rm, writeFile } from 'node:fs/promises';
import { closeAtEnd, closeQuietly } from '../../base/closing.ts';
import { AgentError } from '../../base/errors.ts';
import { exportCalibration } from '../../calibration/document.ts';
import { evaluateBursts } from '../../calibration/evaluate.ts';
import { SiteCalibration } from '../../calibration/site-calibration.ts';
import type { ModelRef } from '../../contract/observation.ts';
import type { VisionClient } from '../../vision/protocol.ts';
import { loadCommandSettings } from '../config.ts';
import { openModel } from '../open-model.ts';
import { readOptionFile, type ConfigOptions } from '../options.ts';
import { createProgressBar } from '../progress.ts';
import { EXIT, toJson, type Terminal } from '../terminal.ts';
import { embedBursts } from './bursts.ts';
import { parseLabels, type HoldOut } from './labels.ts';
import { buildCameraReport, formatCalibrateReport, type CalibrateReport } from './report.ts';

export interface CalibrateCommandOptions extends ConfigOptions {
  readonly labels: string;
  readonly camera?: string;
  readonly out?: string;
  readonly frames?: string;
  /** False with `--no-gated`. */
  readonly gated: boolean;
  readonly holdOut: HoldOut;
  readonly model?: string;
  readonly json?: boolean;
}

/** `calibrate DIR --labels FILE.csv`: computes a site calibration from labelled files, and its errors. */
export async function runCalibrate(
  dir: string,
  options: CalibrateCommandOptions,
  terminal: Terminal,
): Promise<number> {
  const settings = await loadCommandSettings(options, terminal);
  const framesPerBurst = parseFrames(options.frames);
  const { bundle, ref, vision } = await openModel(options.model, settings, terminal);
  const bar = await createProgressBar('reading frames', terminal);
  await using _closed = closeAtEnd(() => vision.close());
  using _bar = { [Symbol.dispose]: () => bar.stop() };
  if (bundle.embeddingDigest === null)
    throw new AgentError('calibration_invalid', `the model ${ref.name} has no embedding for a calibration`);
  const report = await calibrateFiles(
    {
      dir,
      labels: options.labels,
      camera: options.camera ?? null,
      out: options.out ?? null,
      framesPerBurst,
      ignoreGate: options.gated,
      sessionHours: settings.calibration.sessionHours,
      holdOut: options.holdOut,
    },
    {
      vision,
      model: ref,
      embeddingDigest: bundle.embeddingDigest,
      nowMs: Date.now,
      signal: terminal.signal,
      progress: (done, total) => bar.update(done, total),
    },
  );
  bar.stop();
  terminal.out(options.json === true ? toJson(report) : formatCalibrateReport(report));
  return EXIT.ok;
}

function parseFrames(text: string | undefined): number | null {
  if (text === undefined || text === 'all') return null;
  const frames = Number(text);
  if (!Number.isInteger(frames) || frames < 1)
    throw new AgentError('usage', `--frames ${text} is not a number of frames`);
  return frames;
}

export interface CalibrateOptions {
  /** Directory of the frames. */
  readonly dir: string;
  /** CSV file with one row for each frame. */
  readonly labels: string;
  /** Only this camera; null: all cameras of the file. */
  readonly camera: string | null;
  /** Output file of the calibration; only for one camera. */
  readonly out: string | null;
  /** Number of frames of each burst; null: all. Three are enough (docs/calibration.md). */
  readonly framesPerBurst: number | null;
  /** Whether to use frames that the quality gate rejects: a person could read them. */
  readonly ignoreGate: boolean;
  readonly sessionHours: number;
  readonly holdOut: HoldOut;
}

export interface CalibrateDependencies {
  readonly vision: VisionClient;
  readonly model: ModelRef;
  readonly embeddingDigest: string;
  readonly nowMs: () => number;
  readonly signal: AbortSignal;
  readonly progress?: (done: number, total: number) => void;
}

/**
 * Computes the embeddings of labelled files, the errors on held-out groups, and the calibration document. Throws `usage` for
 * a missing file, column or camera, `vision_*` when the vision process fails, never `image_*`.
 */
export async function calibrateFiles(
  options: CalibrateOptions,
  dependencies: CalibrateDependencies,
): Promise<CalibrateReport> {
  const { rows, refused } = parseLabels(readOptionFile('labels', options.labels), options.holdOut);
  const cameras = [...new Set(rows.map((row) => row.camera))];
  const selected = options.camera === null ? cameras : cameras.filter((camera) => camera === options.camera);
  if (selected.length === 0)
    throw new AgentError('usage', `no usable labels${options.camera ? ` of camera ${options.camera}` : ''}`, {
      context: { cameras },
    });
  if (options.out !== null && selected.length > 1)
    throw new AgentError('usage', `--out needs one camera: choose with --camera from ${selected.join(', ')}`);

  const readings = await embedBursts(
    rows.filter((row) => selected.includes(row.camera)),
    options,
    {
      vision: dependencies.vision,
      signal: dependencies.signal,
      progress: dependencies.progress ?? (() => undefined),
    },
  );
  const reports: CalibrateReport['cameras'][number][] = [];
  for (const camera of selected) {
    const cameraReadings = readings.filter((reading) => reading.camera === camera);
    const bursts = cameraReadings.flatMap(({ burst }) => (burst === null ? [] : [burst]));
    const { sessionHours } = options;
    const { embeddingDigest } = dependencies;
    const calibration = new SiteCalibration({ camera, embeddingDigest, sessionHours });
    const outcome = await calibration.fit(bursts, dependencies.signal);
    reports.push(buildCameraReport(camera, cameraReadings, outcome, evaluateBursts(bursts, sessionHours)));
    if (options.out === null) continue;
    const origin = { atMs: dependencies.nowMs(), model: dependencies.model };
    await writeAtomically(
      options.out,
      `${JSON.stringify(exportCalibration(calibration, origin), null, 2)}\n`,
    );
  }
  return {
    schema: 'swellsight.calibrate/1',
    model: dependencies.model,
    cameras: reports,
    rows_refused: refused,
    out: options.out,
  };
}

/** Writes the whole file or nothing, also when the disk is full. */
async function writeAtomically(file: string, text: string): Promise<void> {
  const partFile = `${file}.part`;
  try {
    await writeFile(partFile, text);
    await rename(partFile, file);
  } catch (cause) {
    await closeQuietly(() => rm(partFile, { force: true }));
    throw new AgentError('usage', `the calibration cannot be written: ${file}`, { cause });
  }
}
