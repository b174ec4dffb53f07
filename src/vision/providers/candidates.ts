import { normalizeProviderName } from '../../base/provider-limits.ts';
import type { Hardware, HardwareKind } from '../hardware/hardware.ts';
import type { ProviderAttempt } from '../protocol.ts';
import type { Plan, TrialOutcome } from './trial.ts';

/** The accelerated providers that a kind of machine should have, most promising first. `cpu` runs everywhere. */
const EXPECTED_PROVIDERS: Readonly<Record<HardwareKind, readonly string[]>> = {
  jetson: ['tensorrt', 'cuda'],
  raspberry_pi: [],
  nvidia_x86: ['tensorrt', 'cuda', 'webgpu'],
  nvidia_arm64: ['tensorrt', 'cuda'],
  apple: ['coreml', 'webgpu'],
  windows: ['dml', 'webgpu'],
  cpu: [],
};

/**
 * A plan with more threads is chosen only if it is faster by this share, 0..1, because more threads cost more CPU time
 * on every frame. This value is a design choice, not measured.
 */
const MIN_SPEEDUP01 = 0.15;

export interface Candidates {
  /** Providers to try, in this order. */
  readonly providers: readonly string[];
  /** `fastest`: the fastest provider with right results wins. `ordered`: the first one of a configured list wins. */
  readonly rule: 'fastest' | 'ordered';
  /** Providers that the settings or `EXPECTED_PROVIDERS` name, but that are not tried; each with the reason. */
  readonly excluded: readonly {
    readonly provider: string;
    readonly outcome: 'not_built_in' | 'not_tried';
    readonly reason: string;
  }[];
}

/** A finished trial in the form that the agent stores: do not rename a field. */
export interface TrialRecord extends Plan {
  readonly outcome: TrialOutcome['type'];
  /** Null unless the outcome is `right`. */
  readonly medianMs: number | null;
  /** Null if the outcome is `right`. */
  readonly reason: string | null;
}

/**
 * The providers to try. With `auto`: all providers of the installed onnxruntime, in the order of
 * `EXPECTED_PROVIDERS`. With a configured list: that list. If the model requires certain providers, all others are left
 * out. `backends` (the providers of the installed onnxruntime) is null before the first trial, which reports them.
 */
export function listCandidates(
  configured: 'auto' | readonly string[],
  hardware: Hardware,
  backends: readonly string[] | null,
  required: readonly string[] | undefined,
): Candidates {
  const names =
    configured === 'auto'
      ? [...EXPECTED_PROVIDERS[hardware.kind], ...(backends ?? []).filter((name) => name !== 'cpu'), 'cpu']
      : configured.map(normalizeProviderName);
  const needed = required?.map(normalizeProviderName);
  const providers: string[] = [];
  const excluded: Candidates['excluded'][number][] = [];
  for (const provider of new Set(names)) {
    if (needed !== undefined && !needed.includes(provider))
      excluded.push({ provider, outcome: 'not_tried', reason: `the model requires ${needed.join(' or ')}` });
    else if (backends !== null && !backends.includes(provider))
      excluded.push({
        provider,
        outcome: 'not_built_in',
        reason:
          `the installed onnxruntime has no ${provider}` +
          (hardware.kind === 'jetson' ? '; a Jetson needs a build for its JetPack' : ''),
      });
    else providers.push(provider);
  }
  return { providers, rule: configured === 'auto' ? 'fastest' : 'ordered', excluded };
}

/** The thread count for the first trial: low, so that it is quick on every board and leaves CPU time to other work. */
export function initialThreads(threads: 'auto' | number, cores: number): number {
  if (threads !== 'auto') return threads;
  return cores >= 4 ? 2 : 1;
}

/** The thread counts to try on the CPU, ascending: 1, 2, half of the cores, all cores. */
export function threadCounts(threads: 'auto' | number, cores: number): readonly number[] {
  if (threads !== 'auto') return [threads];
  const counts = [1, 2, Math.floor(cores / 2), cores].filter((count) => count >= 1 && count <= cores);
  return [...new Set(counts)].sort((a, b) => a - b);
}

interface TimedPlan extends Plan {
  readonly medianMs: number;
}

/** The best plan among the trials with right results, without the `demoted` providers; null if there is none. */
export function choosePlan(
  trials: readonly TrialRecord[],
  candidates: Candidates,
  demoted: ReadonlyMap<string, unknown>,
): Plan | null {
  const [first, ...others] = candidates.providers
    .filter((provider) => !demoted.has(provider))
    .flatMap((provider) => chooseThreads(trials, provider) ?? []);
  if (first === undefined) return null;
  const winner =
    candidates.rule === 'ordered'
      ? first
      : others.reduce((fastest, next) => (next.medianMs <= fastest.medianMs ? next : fastest), first);
  return { provider: winner.provider, threads: winner.threads };
}

function chooseThreads(trials: readonly TrialRecord[], provider: string): TimedPlan | null {
  const timed = trials
    .flatMap(({ medianMs, ...plan }) =>
      plan.provider === provider && medianMs !== null ? [{ ...plan, medianMs }] : [],
    )
    .sort((a, b) => a.threads - b.threads);
  let best: TimedPlan | null = null;
  for (const next of timed)
    if (best === null || next.medianMs <= best.medianMs * (1 - MIN_SPEEDUP01)) best = next;
  return best;
}

/** Lists all trials and all providers that were not tried, each with the reason why it was not chosen. */
export function explainAttempts(
  trials: readonly TrialRecord[],
  candidates: Candidates,
  chosen: Plan,
  demoted: ReadonlyMap<string, string>,
): readonly ProviderAttempt[] {
  const isChosen = (plan: Plan): boolean =>
    plan.provider === chosen.provider && plan.threads === chosen.threads;
  const chosenMs = trials.find(isChosen)?.medianMs ?? null;
  const attempts = trials.map((trial): ProviderAttempt => {
    const { outcome, reason, ...timed } = trial;
    const demotion = demoted.get(trial.provider);
    if (isChosen(trial)) return { ...timed, outcome: 'chosen', reason: null };
    if (demotion !== undefined) return { ...timed, outcome: 'failed', reason: `demoted: ${demotion}` };
    if (outcome === 'right')
      return { ...timed, outcome: 'slower', reason: whySlower(trial, chosen, chosenMs) };
    return { ...timed, outcome: outcome === 'not_built_in' ? outcome : 'failed', reason };
  });
  const listed = new Set([...trials, ...candidates.excluded].map(({ provider }) => provider));
  return [
    ...attempts,
    ...candidates.excluded.map((one) => ({ ...one, threads: chosen.threads, medianMs: null })),
    ...candidates.providers
      .filter((provider) => !listed.has(provider))
      .map((provider) => ({
        provider,
        threads: chosen.threads,
        outcome: 'not_tried' as const,
        medianMs: null,
        reason: comesAfter(provider, candidates, chosen)
          ? `${chosen.provider} comes first in the list`
          : 'not tried yet',
      })),
  ];
}

const comesAfter = (provider: string, { providers, rule }: Candidates, chosen: Plan): boolean =>
  rule === 'ordered' && providers.indexOf(provider) > providers.indexOf(chosen.provider);

function whySlower(trial: TrialRecord, chosen: Plan, chosenMs: number | null): string {
  const trialMs = trial.medianMs ?? 0;
  const time = `${trialMs.toFixed(1)} ms`;
  if (chosenMs === null) return time;
  const times = `${time} against ${chosenMs.toFixed(1)} ms`;
  if (trialMs >= chosenMs) return times;
  if (trial.provider !== chosen.provider) return `${times}: ${chosen.provider} comes first in the list`;
  const plural = chosen.threads === 1 ? '' : 's';
  return `${times}: not ${MIN_SPEEDUP01 * 100}% faster than ${chosen.threads} thread${plural}`;
}
