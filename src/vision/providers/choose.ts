import type { ProviderAttempt } from '../protocol.ts';
import type { Candidates } from './candidates.ts';
import type { Plan, TrialOutcome } from './trial.ts';

/** More threads cost CPU time on every frame: they must win by this share to be taken. */
const CLEAR_WIN01 = 0.15;

/** A trial that was made, as it is remembered. */
export interface Tried extends Plan {
  readonly outcome: TrialOutcome['type'];
  /** Null unless the outcome is `right`. */
  readonly medianMs: number | null;
  /** Null when the outcome is `right`. */
  readonly reason: string | null;
}

interface Proven extends Plan {
  readonly medianMs: number;
}

/** The best plan among the trials that were right, or null. Providers in `barred` are passed over. */
export function choose(
  tried: readonly Tried[],
  candidates: Candidates,
  barred: ReadonlyMap<string, unknown>,
): Plan | null {
  const best = candidates.providers
    .filter((provider) => !barred.has(provider))
    .flatMap((provider) => bestThreads(tried, provider) ?? []);
  const [first, ...others] = best;
  if (first === undefined) return null;
  const winner =
    candidates.rule === 'ordered'
      ? first
      : others.reduce((fastest, next) => (next.medianMs <= fastest.medianMs ? next : fastest), first);
  return { provider: winner.provider, threads: winner.threads };
}

function bestThreads(tried: readonly Tried[], provider: string): Proven | null {
  const proven = tried
    .flatMap(({ medianMs, ...plan }) =>
      plan.provider === provider && medianMs !== null ? [{ ...plan, medianMs }] : [],
    )
    .sort((a, b) => a.threads - b.threads);
  let best: Proven | null = null;
  for (const next of proven)
    if (best === null || next.medianMs <= best.medianMs * (1 - CLEAR_WIN01)) best = next;
  return best;
}

/** One line per trial and per provider that was not tried: the chosen one, and why not the others. */
export function explain(
  tried: readonly Tried[],
  candidates: Candidates,
  current: Plan,
  demoted: ReadonlyMap<string, string>,
): readonly ProviderAttempt[] {
  const chosenMs =
    tried.find((one) => one.provider === current.provider && one.threads === current.threads)?.medianMs ??
    null;
  const attempts = tried.map((one): ProviderAttempt => {
    const { provider, threads, medianMs } = one;
    const demotion = demoted.get(provider);
    if (provider === current.provider && threads === current.threads)
      return { provider, threads, medianMs, outcome: 'chosen', reason: null };
    if (demotion !== undefined)
      return { provider, threads, medianMs, outcome: 'failed', reason: `demoted: ${demotion}` };
    switch (one.outcome) {
      case 'right':
        return { provider, threads, medianMs, outcome: 'slower', reason: whySlower(one, current, chosenMs) };
      case 'not_built_in':
        return { provider, threads, medianMs: null, outcome: 'not_built_in', reason: one.reason };
      case 'unavailable':
      case 'wrong':
      case 'crashed':
      case 'hung':
      case 'too_big':
        return { provider, threads, medianMs: null, outcome: 'failed', reason: one.reason };
    }
  });
  const named = new Set([...tried, ...candidates.excluded].map((one) => one.provider));
  return [
    ...attempts,
    ...candidates.excluded.map((one) => ({ ...one, threads: current.threads, medianMs: null })),
    ...candidates.providers
      .filter((provider) => !named.has(provider))
      .map((provider) => ({
        provider,
        threads: current.threads,
        outcome: 'not_tried' as const,
        medianMs: null,
        reason: standsBehind(provider, candidates, current)
          ? `${current.provider} stands before it in the list`
          : 'not tried yet',
      })),
  ];
}

function standsBehind(provider: string, { providers, rule }: Candidates, current: Plan): boolean {
  return rule === 'ordered' && providers.indexOf(provider) > providers.indexOf(current.provider);
}

function whySlower(one: Tried, current: Plan, chosenMs: number | null): string {
  const own = `${(one.medianMs ?? 0).toFixed(1)} ms`;
  if (chosenMs === null) return own;
  const against = `${own} against ${chosenMs.toFixed(1)} ms`;
  if ((one.medianMs ?? 0) >= chosenMs) return against;
  if (one.provider === current.provider)
    return `${against}: not ${CLEAR_WIN01 * 100}% faster than ${current.threads} ${plural(current.threads)}`;
  return `${against}: ${current.provider} stands first in the list`;
}

const plural = (threads: number): string => (threads === 1 ? 'thread' : 'threads');
