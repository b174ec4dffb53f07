import { openCommandBundle, tryProviders } from '../open-model.ts';
import { providerFindings } from '../../control/doctor/providers.ts';
import { okFinding, warnFinding, type Finding } from '../../control/doctor/finding.ts';
import type { DoctorContext } from './context.ts';

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
  yield* providerFindings(report.attempts, settings.inference, hardware);
}
