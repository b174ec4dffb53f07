import type { KeyValue } from '../../store/types.ts';
import type { Tried } from './choose.ts';
import type { Demotion } from './demotions.ts';
import type { Plan } from './trial.ts';

const KEY = 'inference.plans';
/** Models that came and went must not fill the store. */
const KEPT_ENTRIES = 8;

/** What was found for one model on one runtime and one machine. */
export interface Finding {
  readonly plan: Plan;
  readonly tried: readonly Tried[];
  readonly backends: readonly string[];
  readonly demotions: readonly Demotion[];
  /** Wall clock of the trials, ms. */
  readonly foundAtMs: number;
}

/**
 * The findings of the last models, newest first, in one value of the store. What cannot be read (an older format,
 * damage) counts as not there: it is found again.
 */
export class PlanMemory {
  readonly #store: KeyValue;

  constructor(deps: { store: KeyValue }) {
    this.#store = deps.store;
  }

  recall(key: string): Finding | null {
    return this.#entries().find(([name]) => name === key)?.[1] ?? null;
  }

  keep(key: string, finding: Finding): void {
    const others = this.#entries().filter(([name]) => name !== key);
    this.#store.set(KEY, JSON.stringify([[key, finding], ...others].slice(0, KEPT_ENTRIES)));
  }

  #entries(): readonly (readonly [string, Finding])[] {
    try {
      const parsed: unknown = JSON.parse(this.#store.get(KEY) ?? '[]');
      return Array.isArray(parsed) ? parsed.filter(isEntry) : [];
    } catch {
      return [];
    }
  }
}

function isEntry(value: unknown): value is readonly [string, Finding] {
  if (!Array.isArray(value) || typeof value[0] !== 'string') return false;
  const { plan, tried, backends, demotions, foundAtMs } = (value[1] ?? {}) as Record<string, unknown>;
  return (
    isPlan(plan) &&
    Array.isArray(tried) &&
    tried.every(isTried) &&
    Array.isArray(backends) &&
    backends.every((name) => typeof name === 'string') &&
    Array.isArray(demotions) &&
    demotions.every(isDemotion) &&
    Number.isFinite(foundAtMs)
  );
}

function isPlan(value: unknown): value is Plan {
  const { provider, threads } = (value ?? {}) as Record<string, unknown>;
  return typeof provider === 'string' && Number.isInteger(threads) && Number(threads) >= 1;
}

function isTried(value: unknown): value is Tried {
  const { outcome, medianMs, reason } = (value ?? {}) as Record<string, unknown>;
  return (
    isPlan(value) &&
    typeof outcome === 'string' &&
    (medianMs === null || Number.isFinite(medianMs)) &&
    (reason === null || typeof reason === 'string')
  );
}

function isDemotion(value: unknown): value is Demotion {
  const { provider, reason, untilMs, times, retried } = (value ?? {}) as Record<string, unknown>;
  return (
    typeof provider === 'string' &&
    typeof reason === 'string' &&
    Number.isFinite(untilMs) &&
    Number.isInteger(times) &&
    typeof retried === 'boolean'
  );
}
