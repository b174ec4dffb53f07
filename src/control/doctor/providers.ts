import type { Settings } from '../../config/schema.ts';
import type { Hardware } from '../../vision/hardware/hardware.ts';
import type { ProviderAttempt } from '../../vision/protocol.ts';
import { okFinding, warnFinding, type Finding } from './finding.ts';

/** What became of each provider. */
export const providerFindings = (
  attempts: readonly ProviderAttempt[],
  settings: Settings['inference'],
  hardware: Hardware | null,
): readonly Finding[] =>
  attempts.map((attempt) =>
    providerFinding(attempt, hardware !== null && isExpected(attempt, settings, hardware)),
  );

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
  const detail = `${outcome.replaceAll('_', ' ')}, ${String(threads)} thread${threads === 1 ? '' : 's'}${speed}${suffix}`;
  return outcome === 'failed' && isExpectedToWork
    ? warnFinding(check, detail, 'fix it, or remove it from inference.providers')
    : okFinding(check, detail);
}
