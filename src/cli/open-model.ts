import { availableParallelism } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { systemClock } from '../base/clock.ts';
import type { Settings } from '../config/schema.ts';
import type { ModelRef } from '../contract/observation.ts';
import { AgentError } from '../base/errors.ts';
import { createLog } from '../base/log.ts';
import type { Bundle } from '../model/manifest.ts';
import type { VisionClient } from '../vision/protocol.ts';
import type { Terminal } from './terminal.ts';

/** Bundles that ship with the agent; the same folder from `src` and from `dist`. */
export const SHIPPED_MODELS = fileURLToPath(new URL('../../models', import.meta.url));

export interface OpenModel {
  readonly bundle: Bundle;
  readonly ref: ModelRef;
  readonly vision: VisionClient;
}

const MAX_THREADS = 4;
const MAX_QUEUE = 4;

/** The bundle that a command works with: `--model DIR`, else the configured one. Throws `model_*`. */
export async function openBundleFor(
  model: string | undefined,
  settings: Settings,
  terminal: Terminal,
): Promise<{ readonly bundle: Bundle; readonly fallback: AgentError | null }> {
  const { signal } = terminal;
  if (model !== undefined) {
    const { openBundle } = await import('../model/bundle/bundle.ts');
    return { bundle: await openBundle(model, { signal }), fallback: null };
  }
  const { resolveActiveModel } = await import('../model/slots/active-model.ts');
  return resolveActiveModel({
    shippedDir: SHIPPED_MODELS,
    installedDirs: [join(settings.stateDir, 'models')],
    active: settings.model.active,
    signal,
  });
}

/**
 * Opens the model in a vision process of its own on the CPU: a picture that crashes it costs that picture.
 * The caller closes `vision`. Throws `model_*` and `vision_*`.
 */
export async function openModel(
  model: string | undefined,
  settings: Settings,
  terminal: Terminal,
): Promise<OpenModel> {
  const { bundle, fallback } = await openBundleFor(model, settings, terminal);
  if (fallback !== null)
    throw new AgentError(fallback.code, `the configured model cannot be used: ${fallback.message}`, {
      cause: fallback,
    });
  const { VisionProcess } = await import('../vision/vision-process.ts');
  const threads = Math.min(MAX_THREADS, Math.ceil(availableParallelism() / 2));
  const { timeoutS, maxRssMb } = settings.inference;
  const vision = new VisionProcess(
    { bundle, plan: { provider: 'cpu', threads }, timeoutS, maxRssMb, queueMax: MAX_QUEUE },
    { clock: systemClock, log: createLog('silent'), onEvent: () => undefined },
  );
  await vision.start(terminal.signal);
  const { name, version } = bundle.manifest;
  return { bundle, ref: { name, version, digest: bundle.digest }, vision };
}
