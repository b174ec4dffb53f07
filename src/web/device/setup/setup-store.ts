import { computed, effect, signal } from '@preact/signals';
import type { ConfigChange, ConfigView } from '../../../contract/config.ts';
import type { Event } from '../../../contract/states.ts';
import { jsonBody, RequestProblem, requestJson } from '../../shared/api.ts';
import { events, readStatus } from '../device-store.ts';
import type { CameraSettings } from './camera-draft.ts';

/** How long a change is on trial, seconds. */
export const CONFIRM_WITHIN_S = 120;
/** The agent begins a change after its answer: its cameras are read again then. */
const BEGIN_MS = 600;

export type Notice =
  | { readonly kind: 'kept' | 'same' }
  /** `reason` is that of the event `config_undone`; null: unknown. */
  | { readonly kind: 'undone'; readonly reason: string | null };

export const config = signal<ConfigView | null>(null);
export const setupProblem = signal<RequestProblem | null>(null);
export const notice = signal<Notice | null>(null);
/** A request that changes settings is under way. */
export const isBusy = signal(false);
/** When the change on trial ends, by `performance.now()`. */
const trialEndsMs = signal<number | null>(null);
const nowMs = signal(performance.now());

export const secondsLeft = computed(() =>
  trialEndsMs.value === null ? null : Math.max(0, (trialEndsMs.value - nowMs.value) / 1000),
);
export const cameraSettings = computed(
  () => (config.value?.settings['cameras'] ?? []) as readonly CameraSettings[],
);

export async function readConfig(): Promise<void> {
  try {
    showConfig(await requestJson<ConfigView>('/api/v1/config'));
    setupProblem.value = null;
  } catch (thrown) {
    if (!(thrown instanceof RequestProblem)) throw thrown;
    setupProblem.value = thrown;
  }
}

/** Sets settings on trial. Resolves with whether the agent took them. */
export async function tryChange(patch: Readonly<Record<string, unknown>>): Promise<boolean> {
  notice.value = null;
  return await attempt(async () => {
    const body = jsonBody('PATCH', { patch, confirm_within_s: CONFIRM_WITHIN_S });
    const { trial } = await requestJson<ConfigChange>('/api/v1/config', body);
    if (trial === null) notice.value = { kind: 'same' };
    await refresh();
  });
}

export async function keepChange(): Promise<void> {
  const id = config.value?.trial?.id;
  await attempt(async () => {
    await requestJson('/api/v1/config/confirm', jsonBody('POST', id === undefined ? {} : { trial: id }));
    notice.value = { kind: 'kept' };
    await refresh();
  });
}

export async function undoChange(): Promise<void> {
  const id = config.value?.trial?.id;
  const query = id === undefined ? '' : `?trial=${encodeURIComponent(id)}`;
  await attempt(async () => {
    await requestJson(`/api/v1/config/trial${query}`, { method: 'DELETE' });
    notice.value = { kind: 'undone', reason: 'withdrawn' };
    await refresh();
  });
}

/** Follows the trial while the view is shown: its time, and its end by the agent. Returns a function that stops it. */
export function followTrial(): () => void {
  let seen = events.peek()[0]?.id;
  const timer = setInterval(() => {
    nowMs.value = performance.now();
    // The agent has undone the change by now.
    if (secondsLeft.value === 0) {
      trialEndsMs.value = null;
      void refresh();
    }
  }, 250);
  const stopEffect = effect(() => {
    const [newest] = events.value;
    if (newest === undefined || newest.id === seen) return;
    seen = newest.id;
    if (newest.type === 'config_undone') showUndone(newest);
    if (newest.code === 'config_changed') notice.value = { kind: 'kept' };
    if (newest.type === 'config_undone' || newest.type === 'config_changed') void refresh();
  });
  return () => {
    clearInterval(timer);
    stopEffect();
  };
}

function showUndone({ context }: Event): void {
  const { reason } = context;
  notice.value = { kind: 'undone', reason: typeof reason === 'string' ? reason : null };
}

function showConfig(view: ConfigView): void {
  const hasEnded = config.value?.trial != null && view.trial === null;
  if (hasEnded && notice.value === null) notice.value = { kind: 'undone', reason: null };
  config.value = view;
  trialEndsMs.value = view.trial && performance.now() + view.trial.seconds_left * 1000;
  nowMs.value = performance.now();
}

/** Reads settings and cameras again when the agent has begun the change. */
async function refresh(): Promise<void> {
  await new Promise((resolve) => setTimeout(resolve, BEGIN_MS));
  await readConfig();
  await readStatus();
}

/** Sends a change. Resolves with whether the agent took it. */
async function attempt(work: () => Promise<void>): Promise<boolean> {
  isBusy.value = true;
  try {
    setupProblem.value = null;
    await work();
    return true;
  } catch (thrown) {
    if (!(thrown instanceof RequestProblem)) throw thrown;
    setupProblem.value = thrown;
    return false;
  } finally {
    isBusy.value = false;
  }
}
