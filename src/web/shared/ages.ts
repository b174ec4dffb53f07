import { signal } from '@preact/signals';
import { clockOffsetMs } from './api.ts';

/** The time of this browser, ms, each second while the page is visible. */
const now = signal(Date.now());
const update = (): void => {
  if (document.visibilityState === 'visible') now.value = Date.now();
};
setInterval(update, 1000);
document.addEventListener('visibilitychange', update);

/** Seconds since a time of the agent, such as `captured_at`; views that call it are drawn again each second. */
export function ageS(at: string | number): number {
  const atMs = typeof at === 'string' ? Date.parse(at) : at;
  return Math.max(0, (now.value + clockOffsetMs.value - atMs) / 1000);
}
