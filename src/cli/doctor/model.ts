import type { Settings } from '../../config/schema.ts';
import type { Hardware } from '../../vision/hardware/hardware.ts';
import type { ProviderAttempt } from '../../vision/protocol.ts';
import { formatCount } from '../format.ts';
import { openCommandBundle, tryProviders } from '../open-model.ts';
import { okFinding, warnFinding, type DoctorContext, type Finding } from './finding.ts';

const EXPLORE_MS = 60_000;

/** Checks the model, and tries every execution provider: golden outputs and time. */
export async function* checkModel({ settings, terminal }: DoctorContext): AsyncGenerator<Finding> {
  const { bundle, fallback } = await openCommandBundle(undefined, settings, terminal);
  const { name, version } = bundle.manifest;
  const found = `${name} ${version}, ${bundle.digest.slice(0, 19)}`;
  yield fallback === null
    ? okFinding('model', found)
    : warnFinding(
        'model',
        `${String(settings.model.active)}: ${fallback.message}; ${found} is used instead`,
        fallback.hint,
      );
  const { hardware, report } = await tryProviders(bundle, settings.inference, {
    exploreMs: EXPLORE_MS,
    signal: terminal.signal,
  });
  for (const attempt of report.attempts)
    yield providerFinding(attempt, isExpected(attempt, settings.inference, hardware));
}

/** Whether a provider should work: the settings name it, or the hardware supports it. */
function isExpected(
  { provider }: ProviderAttempt,
  { providers }: Settings['inference'],
  { kind }: Hardware,
): boolean {
  const isConfigured = providers !== 'auto' && providers.includes(provider);
  const isNvidia = kind === 'jetson' || kind === 'nvidia_x86' || kind === 'nvidia_arm64';
  return isConfigured || (isNvidia && (provider === 'cuda' || provider === 'tensorrt'));
}

function providerFinding(
  { provider, threads, outcome, medianMs, reason }: ProviderAttempt,
  isExpectedToWork: boolean,
): Finding {
  const check = `provider ${provider}` as const;
  const speed = medianMs === null ? '' : `, ${medianMs.toFixed(1)} ms per frame`;
  const suffix = reason === null ? '' : `: ${reason}`;
  const detail = `${outcome.replaceAll('_', ' ')}, ${formatCount(threads, 'thread')}${speed}${suffix}`;
  return outcome === 'failed' && isExpectedToWork
    ? warnFinding(check, detail, 'fix it, or remove it from inference.providers')
    : okFinding(check, detail);
}
