import type { Clock } from '../base/clock.ts';

/** Returns a function that runs `work` once: when it is called, or automatically after `patienceMs`. */
export function onceDelivered(
  work: () => void,
  patienceMs: number,
  { clock }: { readonly clock: Clock },
): () => void {
  let isDone = false;
  const once = (): void => {
    if (isDone) return;
    isDone = true;
    work();
  };
  void clock.sleep(patienceMs).then(once);
  return once;
}
