import { readFile, rename, rm, writeFile } from 'node:fs/promises';
import { SiteCalibration } from '../../calibration/site-calibration.ts';
import { evaluateBursts } from '../../calibration/evaluate.ts';
import { exportCalibration } from '../../calibration/document.ts';
import type { ModelRef } from '../../contract/observation.ts';
import { AgentError } from '../../base/errors.ts';
import type { VisionClient } from '../../vision/protocol.ts';
import { embedBursts } from './bursts.ts';
import { readLabels } from './csv.ts';
import { cameraReport, type CalibrateReport } from './report.ts';

export interface CalibrateOptions {
  /** Folder with the frames. */
  readonly dir: string;
  /** CSV file with a row per frame. */
  readonly labels: string;
  /** Only this camera; null takes all in the file. */
  readonly camera: string | null;
  /** Where the calibration is written; needs one camera. */
  readonly out: string | null;
  /** Frames used of each burst; null uses all. Three are enough (docs/calibration.md). */
  readonly framesPerBurst: number | null;
  /** False leaves out frames that the quality gate rejects. True: people could read them, so they are used. */
  readonly ignoreGate: boolean;
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
 * Calibrates on labelled files: embeddings by the vision process, errors with whole groups held out, the calibration
 * as a document. Throws `usage` (no such file, column or camera), `image_*` never, `vision_*` when the process fails.
 */
export async function runCalibrate(
  options: CalibrateOptions,
  dependencies: CalibrateDependencies,
): Promise<CalibrateReport> {
  const { rows, refused } = readLabels(await readText(options.labels));
  const cameras = [...new Set(rows.map((row) => row.camera))];
  const wanted = options.camera === null ? cameras : cameras.filter((camera) => camera === options.camera);
  if (wanted.length === 0)
    throw new AgentError('usage', `no usable labels${options.camera ? ` of camera ${options.camera}` : ''}`, {
      context: { cameras },
    });
  if (options.out !== null && wanted.length > 1)
    throw new AgentError('usage', `--out holds one camera: choose with --camera from ${wanted.join(', ')}`);

  const readings = await embedBursts(
    rows.filter((row) => wanted.includes(row.camera)),
    options,
    {
      vision: dependencies.vision,
      signal: dependencies.signal,
      progress: dependencies.progress ?? (() => undefined),
    },
  );
  const reports: CalibrateReport['cameras'][number][] = [];
  for (const camera of wanted) {
    const of = readings.filter((reading) => reading.camera === camera);
    const bursts = of.flatMap(({ burst }) => (burst === null ? [] : [burst]));
    const calibration = new SiteCalibration({ camera, embeddingDigest: dependencies.embeddingDigest });
    const outcome = await calibration.fit(bursts, dependencies.signal);
    reports.push(cameraReport(camera, of, outcome, evaluateBursts(bursts)));
    if (options.out === null) continue;
    const made = { atMs: dependencies.nowMs(), model: dependencies.model };
    await writeWhole(options.out, `${JSON.stringify(exportCalibration(calibration, made), null, 2)}\n`);
  }
  return {
    schema: 'swellsight.calibrate/1',
    model: dependencies.model,
    cameras: reports,
    rows_refused: refused,
    out: options.out,
  };
}

async function readText(file: string): Promise<string> {
  try {
    return await readFile(file, 'utf8');
  } catch (cause) {
    throw new AgentError('usage', `the labels file cannot be read: ${file}`, { cause });
  }
}

/** The whole file or none of it, also when the disk is full. */
async function writeWhole(file: string, text: string): Promise<void> {
  const part = `${file}.part`;
  try {
    await writeFile(part, text);
    await rename(part, file);
  } catch (cause) {
    await rm(part, { force: true });
    throw new AgentError('usage', `the calibration cannot be written: ${file}`, { cause });
  }
}
