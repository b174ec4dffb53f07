import type { Settings } from '../../config/schema.ts';
import { systemClock } from '../../base/clock.ts';
import { createLog } from '../../base/log.ts';
import { deadlineSignal } from '../../base/deadline.ts';
import type { KeyValue } from '../../store/types.ts';
import type { Hardware } from '../../vision/hardware/hardware.ts';
import type { ProviderAttempt } from '../../vision/protocol.ts';
import { ok, warn, type DoctorContext, type Finding } from './types.ts';
import { openBundleFor } from '../open-model.ts';

/** TensorRT may build for minutes; the agent goes on trying, the doctor does not. */
const EXPLORE_WITHIN_MS = 60_000;

/** The model, and every execution provider: tried, proved on the golden outputs, timed. */
export async function* checkModel({ settings, signal, terminal }: DoctorContext): AsyncGenerator<Finding> {
  const { bundle, fallback } = await openBundleFor(undefined, settings, terminal);
  const { name, version } = bundle.manifest;
  const found = `${name} ${version}, ${bundle.digest.slice(0, 19)}`;
  yield fallback === null
    ? ok('model', found)
    : warn(
        'model',
        `${String(settings.model.active)}: ${fallback.message}; ${found} serves instead`,
        fallback.hint,
      );
  const { probeHardware } = await import('../../vision/hardware/probe.ts');
  const { ProviderLadder } = await import('../../vision/providers/select-provider.ts');
  const hardware = await probeHardware(signal);
  const ladder = new ProviderLadder(
    { bundle, inference: settings.inference, hardware },
    { memory: forgetful(), clock: systemClock, log: createLog('silent') },
  );
  await ladder.first(signal);
  await ladder.explore(deadlineSignal(EXPLORE_WITHIN_MS, signal)).catch(() => {
    signal.throwIfAborted();
  });
  for (const attempt of ladder.report()?.attempts ?? [])
    yield providerFinding(attempt, isMissed(attempt, settings.inference, hardware));
}

/** A provider that fails is news only where it was asked for, or where the hardware for it is there. */
function isMissed(
  { provider, outcome }: ProviderAttempt,
  { providers }: Settings['inference'],
  { kind }: Hardware,
): boolean {
  const asked = providers !== 'auto' && providers.includes(provider);
  const nvidia = kind === 'jetson' || kind === 'nvidia_x86';
  return outcome === 'failed' && (asked || (nvidia && (provider === 'cuda' || provider === 'tensorrt')));
}

function providerFinding(
  { provider, threads, outcome, medianMs, reason }: ProviderAttempt,
  missed: boolean,
): Finding {
  const check = `provider ${provider}`;
  const speed = medianMs === null ? '' : `, ${medianMs.toFixed(1)} ms a frame`;
  const why = reason === null ? '' : `: ${reason}`;
  const plural = threads === 1 ? 'thread' : 'threads';
  const detail = `${outcome.replaceAll('_', ' ')}, ${String(threads)} ${plural}${speed}${why}`;
  return missed ? warn(check, detail, 'mend it, or leave it out of inference.providers') : ok(check, detail);
}

/** Nothing of the doctor's trials is remembered: the running agent makes its own. */
function forgetful(): KeyValue {
  const values = new Map<string, string>();
  return {
    get: (key) => values.get(key) ?? null,
    set: (key, value) => void values.set(key, value),
    delete: (key) => void values.delete(key),
  };
}
