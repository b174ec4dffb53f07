import { readFile, stat } from 'node:fs/promises';
import { imageRecord } from '../analysis/image-record.ts';
import type { SiteCalibration } from '../calibration/site-calibration.ts';
import type { ModelRef, Observation } from '../contract/observation.ts';
import { AgentError, asAgentError } from '../base/errors.ts';
import type { FrameResult, VisionClient } from '../vision/protocol.ts';

/** One file as the agent would have recorded it: a burst of one. */
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
  /** What went wrong with a failed file. */
  readonly error: { readonly code: string; readonly message: string; readonly hint: string } | null;
}

export interface AnalyzeDeps {
  readonly vision: VisionClient;
  readonly model: ModelRef;
  readonly calibration: SiteCalibration;
  readonly signal: AbortSignal;
}

/** Larger files are refused unread. */
const MAX_IMAGE_BYTES = 64 * 1024 * 1024;

/** Rejects only when the vision process itself is gone or the signal fires: a bad picture fails alone. */
export async function analyzeFile(file: string, deps: AnalyzeDeps): Promise<AnalyzedFile> {
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
    outcome = readFailure(thrown, file);
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

/** Reading a file fails as a picture without bytes does: by itself. */
function readFailure(thrown: unknown, file: string): AgentError {
  if (thrown instanceof Error && 'syscall' in thrown && !(thrown instanceof AgentError))
    return new AgentError('image_empty', `${file} cannot be read`, { cause: thrown });
  return asAgentError(thrown);
}
