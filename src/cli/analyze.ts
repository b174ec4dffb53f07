import { readFile } from 'node:fs/promises';
import type { SiteCalibration } from '../calibration/site-calibration.ts';
import { AgentError } from '../base/errors.ts';
import type { Bundle } from '../model/manifest.ts';
import { analyzeFile, type AnalyzedFile } from './analyze-frame.ts';
import { imageFiles } from './image-files.ts';
import { openModel } from './open-model.ts';
import { calibrationPhrase, heightPhrase } from './phrases.ts';
import { progressBar } from './progress.ts';
import { settingsFor, type ConfigOptions } from './settings.ts';
import { EXIT, jsonText, type Terminal } from './terminal.ts';

export interface AnalyzeOptions extends ConfigOptions {
  readonly calibration?: string;
  readonly model?: string;
  readonly json?: boolean;
  readonly csv?: boolean;
}

const COLUMNS = [
  'file',
  'status',
  'reasons',
  'height_m',
  'height_low_m',
  'height_high_m',
  'height_basis',
  'direction',
  'breaking_type',
  'quality',
  'glare',
  'total_ms',
  'error',
] as const;

/** `analyze FILES`: each picture as a burst of one. 1 when any of them failed; a rejected one did not fail. */
export async function analyze(
  paths: readonly string[],
  options: AnalyzeOptions,
  terminal: Terminal,
): Promise<number> {
  if (options.json === true && options.csv === true) throw new AgentError('usage', 'choose --json or --csv');
  const files = await imageFiles(paths);
  const settings = await settingsFor(options, terminal);
  const { bundle, ref, vision } = await openModel(options.model, settings, terminal);
  const bar = await progressBar('analysing', terminal);
  try {
    const calibration = await loadCalibration(options.calibration, bundle, terminal.signal);
    // Taken now: later on it speaks of the view seen last.
    const learned = calibration.summary();
    const results: AnalyzedFile[] = [];
    if (options.csv === true) terminal.out(COLUMNS.join(','));
    for (const file of files) {
      const result = await analyzeFile(file, { vision, model: ref, calibration, signal: terminal.signal });
      results.push(result);
      if (options.csv === true) terminal.out(csvLine(result));
      bar.update(results.length, files.length);
    }
    bar.stop();
    const failed = results.filter(({ status }) => status === 'failed').length;
    if (options.json === true)
      terminal.out(
        jsonText({
          schema: 'swellsight.analyze/1',
          model: ref,
          calibration: learned,
          results,
          total_images: results.length,
          successful_analyses: results.length - failed,
          failed_analyses: failed,
        }),
      );
    else if (options.csv !== true) {
      for (const result of results) terminal.out(`${result.file}  ${phrase(result)}`);
      if (options.calibration !== undefined) terminal.err(calibrationPhrase(learned));
    }
    return failed === 0 ? EXIT.ok : EXIT.failed;
  } finally {
    bar.stop();
    await vision.close();
  }
}

/** The calibration that a file holds; without a file one that knows nothing, and so says `uncalibrated`. */
async function loadCalibration(
  file: string | undefined,
  bundle: Bundle,
  signal: AbortSignal,
): Promise<SiteCalibration> {
  const { SiteCalibration: Calibration } = await import('../calibration/site-calibration.ts');
  const embeddingDigest = bundle.embeddingDigest ?? '';
  if (file === undefined) return new Calibration({ camera: 'files', embeddingDigest });
  const { importCalibration } = await import('../calibration/document.ts');
  const { camera, bursts } = importCalibration(await readDocument(file), { embeddingDigest });
  const calibration = new Calibration({ camera, embeddingDigest });
  await calibration.fit(bursts, signal);
  return calibration;
}

async function readDocument(file: string): Promise<unknown> {
  let text: string;
  try {
    text = await readFile(file, 'utf8');
  } catch (cause) {
    throw new AgentError('usage', `the calibration ${file} cannot be read`, { cause });
  }
  try {
    return JSON.parse(text) as unknown;
  } catch (cause) {
    throw new AgentError('calibration_invalid', `${file} is no JSON`, { cause });
  }
}

const phrase = (result: AnalyzedFile): string =>
  result.error === null ? heightPhrase(result) : `failed: ${result.error.code}`;

function csvLine({ file, status, reasons, wave, quality, timing_ms, error }: AnalyzedFile): string {
  const cells: Record<(typeof COLUMNS)[number], string | number | null> = {
    file,
    status,
    reasons: reasons.join(' '),
    height_m: wave.height_m,
    height_low_m: wave.height_low_m,
    height_high_m: wave.height_high_m,
    height_basis: wave.height_basis,
    direction: wave.direction,
    breaking_type: wave.breaking_type,
    quality: quality.score,
    glare: quality.glare,
    total_ms: timing_ms.total,
    error: error?.code ?? null,
  };
  return COLUMNS.map((column) => csvCell(cells[column])).join(',');
}

/** RFC 4180; a name that a spreadsheet would run as a formula is made text. */
function csvCell(value: string | number | null): string {
  if (value === null) return '';
  if (typeof value === 'number') return String(value);
  const text = /^[=+\-@\t\r]/.test(value) ? `'${value}` : value;
  return /[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
}
