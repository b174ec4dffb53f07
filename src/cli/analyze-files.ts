import { readdir, readFile, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { imageRecord } from '../analysis/image-record.ts';
import type { SiteCalibration } from '../calibration/site-calibration.ts';
import type { ModelRef, Observation } from '../contract/observation.ts';
import { AgentError, asAgentError } from '../base/errors.ts';
import type { FrameResult, VisionClient } from '../vision/protocol.ts';

/** The result of one file, as the agent records a burst of one frame. */
export interface AnalyzedFile {
  readonly file: string;
  readonly status: Observation['status'];
  readonly reasons: Observation['reasons'];
  readonly wave: Observation['wave'];
  readonly calibration: Observation['calibration'];
  readonly quality: Observation['quality'];
  readonly provider: string | null;
  readonly timing_ms: Observation['timing_ms'];
  readonly warnings: readonly string[];
  /** Null unless the file failed. */
  readonly error: { readonly code: string; readonly message: string; readonly hint: string } | null;
}

export interface AnalyzeFileDeps {
  readonly vision: VisionClient;
  readonly model: ModelRef;
  readonly calibration: SiteCalibration;
  readonly signal: AbortSignal;
}

const MAX_IMAGE_BYTES = 64 * 1024 * 1024;
const IMAGE_NAME = /\.(jpe?g|png|webp)$/i;

/** Lists the images of the arguments: files, and the images in directories, ordered by name. Throws `usage`. */
export async function listImageFiles(paths: readonly string[]): Promise<string[]> {
  const files: string[] = [];
  for (const path of paths) {
    const found = await stat(path).catch((cause: unknown) => {
      throw new AgentError('usage', `${path} does not exist`, { cause });
    });
    if (!found.isDirectory()) {
      files.push(path);
      continue;
    }
    const names = (await readdir(path)).filter((name) => IMAGE_NAME.test(name));
    const order = new Intl.Collator('en', { numeric: true });
    files.push(...names.sort((a, b) => order.compare(a, b)).map((name) => join(path, name)));
  }
  if (files.length === 0) throw new AgentError('usage', 'found no JPEG, PNG or WebP image');
  return files;
}

/** Rejects only when the vision process has ended or the signal fires. An invalid image has its error in the result. */
export async function analyzeFile(file: string, deps: AnalyzeFileDeps): Promise<AnalyzedFile> {
  const startedMs = performance.now();
  let outcome: FrameResult | AgentError;
  let capturedAtMs = 0;
  try {
    const { size, mtimeMs } = await stat(file);
    capturedAtMs = mtimeMs;
    if (size > MAX_IMAGE_BYTES) throw new AgentError('image_too_large', `${file} has ${String(size)} bytes`);
    const bytes = await readFile(file);
    outcome = await deps.vision.analyze(bytes, { roi: null, privacyMasks: [] }, deps.signal);
  } catch (thrown) {
    deps.signal.throwIfAborted();
    outcome = toReadError(thrown, file);
  }
  const record = imageRecord(outcome, {
    camera: deps.calibration.camera,
    atMs: capturedAtMs,
    totalMs: performance.now() - startedMs,
    model: deps.model,
    provider: deps.vision.report?.provider ?? null,
    calibration: deps.calibration,
  });
  const { status, reasons, wave, calibration, quality, provider, timing_ms, warnings } = record;
  const failure = outcome instanceof AgentError ? outcome : null;
  const error = failure ? { code: failure.code, message: failure.message, hint: failure.hint } : null;
  return { file, status, reasons, wave, calibration, quality, provider, timing_ms, warnings, error };
}

/** A file that cannot be read fails like an empty image, without stopping the command. */
function toReadError(thrown: unknown, file: string): AgentError {
  if (thrown instanceof Error && 'syscall' in thrown && !(thrown instanceof AgentError))
    return new AgentError('image_empty', `${file} cannot be read`, { cause: thrown });
  return asAgentError(thrown);
}
