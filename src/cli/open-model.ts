import { availableParallelism } from 'node:os';
import { join } from 'node:path';
import { systemClock } from '../base/clock.ts';
import { deadlineSignal } from '../base/deadline.ts';
import { AgentError } from '../base/errors.ts';
import { createLog } from '../base/log.ts';
import type { Settings } from '../config/schema.ts';
import type { ModelRef } from '../contract/observation.ts';
import type { Bundle } from '../model/manifest.ts';
import type { KeyValue } from '../store/types.ts';
import type { VisionClient } from '../vision/protocol.ts';
import { SHIPPED_MODELS_DIR } from './installation.ts';
import type { Terminal } from './terminal.ts';

export interface OpenModel {
  readonly bundle: Bundle;
  readonly ref: ModelRef;
  readonly vision: VisionClient;
}

const MAX_THREADS = 4;
const MAX_QUEUE = 4;

/** Opens the bundle of `--model DIR`, else the configured one. Throws `model_*`. */
export async function openCommandBundle(
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
    shippedDir: SHIPPED_MODELS_DIR,
    installedDirs: [join(settings.stateDir, 'models')],
    active: settings.model.active,
    signal,
  });
}

/**
 * Opens the model on the CPU in an own vision process, so that an image that crashes it only fails itself. The caller must
 * close `vision`. Throws `model_*` and `vision_*`.
 */
export async function openModel(
  model: string | undefined,
  settings: Settings,
  terminal: Terminal,
): Promise<OpenModel> {
  const { bundle, fallback } = await openCommandBundle(model, settings, terminal);
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

/**
 * Tries the execution providers like the agent, each in its own process, but stores no results. Stops after `exploreMs`: a
 * provider such as TensorRT may build the model for minutes. Throws when no provider runs the model.
 */
export async function tryProviders(
  bundle: Bundle,
  inference: Settings['inference'],
  { exploreMs, signal }: { readonly exploreMs: number; readonly signal: AbortSignal },
) {
  const { probeHardware } = await import('../vision/hardware/probe.ts');
  const { ProviderLadder } = await import('../vision/providers/select-provider.ts');
  const hardware = await probeHardware(signal);
  const ladder = new ProviderLadder(
    { bundle, inference, hardware },
    { memory: createMemory(), clock: systemClock, log: createLog('silent') },
  );
  const first = await ladder.first(signal);
  const better = await ladder.explore(deadlineSignal(exploreMs, signal)).catch(() => {
    signal.throwIfAborted();
    return null;
  });
  const plan = better ?? first;
  return { hardware, plan, report: ladder.report() ?? { ...plan, attempts: [], remembered: false } };
}

function createMemory(): KeyValue {
  const values = new Map<string, string>();
  return {
    get: (key) => values.get(key) ?? null,
    set: (key, value) => void values.set(key, value),
    delete: (key) => void values.delete(key),
  };
}
