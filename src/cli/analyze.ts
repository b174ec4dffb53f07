import { closeAtEnd } from '../base/closing.ts';
import type { SiteCalibration } from '../calibration/site-calibration.ts';
import { AgentError } from '../base/errors.ts';
import { csvCell } from '../http/csv.ts';
import type { Bundle } from '../model/manifest.ts';
import { analyzeFile, listImageFiles, type AnalyzedFile } from './analyze-files.ts';
import { loadCommandSettings } from './config.ts';
import { formatCalibration, formatHeight } from './format.ts';
import { openModel } from './open-model.ts';
import { readOptionFile, type ConfigOptions } from './options.ts';
import { createProgressBar } from './progress.ts';
import { EXIT, toJson, type Terminal } from './terminal.ts';

export interface AnalyzeOptions extends ConfigOptions {
  readonly calibration?: string;
  readonly model?: string;
  readonly json?: boolean;
  readonly csv?: boolean;
}

const COLUMNS: readonly (readonly [name: string, cell: (result: AnalyzedFile) => string | number | null])[] =
  [
    ['file', ({ file }) => file],
    ['status', ({ status }) => status],
    ['reasons', ({ reasons }) => reasons.join(' ')],
    ['height_m', ({ wave }) => wave.height_m],
    ['height_low_m', ({ wave }) => wave.height_low_m],
    ['height_high_m', ({ wave }) => wave.height_high_m],
    ['height_basis', ({ wave }) => wave.height_basis],
    ['direction', ({ wave }) => wave.direction],
    ['breaking_type', ({ wave }) => wave.breaking_type],
    ['quality', ({ quality }) => quality.score],
    ['glare', ({ quality }) => quality.glare],
    ['total_ms', ({ timing_ms }) => timing_ms.total],
    ['error', ({ error }) => error?.code ?? null],
  ];

/** `analyze FILES`: analyses each image as a burst of one frame. Exits with 1 if an image failed (not if it was rejected). */
export async function runAnalyze(
  paths: readonly string[],
  options: AnalyzeOptions,
  terminal: Terminal,
): Promise<number> {
  if (options.json === true && options.csv === true)
    throw new AgentError('usage', 'use either --json or --csv');
  const files = await listImageFiles(paths);
  const settings = await loadCommandSettings(options, terminal);
  const { bundle, ref, vision } = await openModel(options.model, settings, terminal);
  const bar = await createProgressBar('analysing', terminal);
  await using _closed = closeAtEnd(() => vision.close());
  using _bar = { [Symbol.dispose]: () => bar.stop() };
  const { sessionHours } = settings.calibration;
  const calibration = await loadCalibration(options.calibration, { bundle, sessionHours }, terminal.signal);
  // Take the summary before the analysis, which changes its `view`.
  const summary = calibration.summary();
  const results: AnalyzedFile[] = [];
  if (options.csv === true) terminal.out(COLUMNS.map(([name]) => name).join(','));
  for (const file of files) {
    const result = await analyzeFile(file, { vision, model: ref, calibration, signal: terminal.signal });
    results.push(result);
    if (options.csv === true) terminal.out(COLUMNS.map(([, cell]) => csvCell(cell(result))).join(','));
    bar.update(results.length, files.length);
  }
  bar.stop();
  const failed = results.filter(({ status }) => status === 'failed').length;
  if (options.json === true)
    terminal.out(
      toJson({
        schema: 'swellsight.analyze/1',
        model: ref,
        calibration: summary,
        results,
        total_images: results.length,
        successful_analyses: results.length - failed,
        failed_analyses: failed,
      }),
    );
  else if (options.csv !== true) {
    for (const result of results) terminal.out(`${result.file}  ${describeResult(result)}`);
    if (options.calibration !== undefined) terminal.err(formatCalibration(summary));
  }
  return failed === 0 ? EXIT.ok : EXIT.failed;
}

/** The calibration of the file; without a file, an empty one, so that every result is `uncalibrated`. */
async function loadCalibration(
  file: string | undefined,
  { bundle, sessionHours }: { readonly bundle: Bundle; readonly sessionHours: number },
  signal: AbortSignal,
): Promise<SiteCalibration> {
  const { SiteCalibration: Calibration } = await import('../calibration/site-calibration.ts');
  const embeddingDigest = bundle.embeddingDigest ?? '';
  if (file === undefined) return new Calibration({ camera: 'files', embeddingDigest, sessionHours });
  const { importCalibration } = await import('../calibration/document.ts');
  const { camera, bursts } = importCalibration(readDocument(file), { embeddingDigest });
  const calibration = new Calibration({ camera, embeddingDigest, sessionHours });
  await calibration.fit(bursts, signal);
  return calibration;
}

function readDocument(file: string): unknown {
  const text = readOptionFile('calibration', file);
  try {
    return JSON.parse(text) as unknown;
  } catch (cause) {
    throw new AgentError('calibration_invalid', `${file} is not JSON`, { cause });
  }
}

const describeResult = (result: AnalyzedFile): string =>
  result.error === null ? formatHeight(result) : `failed: ${result.error.code}`;
