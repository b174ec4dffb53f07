import type { Event } from '../../../contract/states.ts';

const RANKS: Readonly<Record<Event['severity'], number>> = { info: 0, warning: 1, error: 2 };

/** Events of this severity or a worse one from both lists, each once, newest first. */
export function mergeEvents(
  live: readonly Event[],
  loaded: readonly Event[],
  severity: Event['severity'],
): readonly Event[] {
  const byId = new Map<string, Event>();
  for (const event of [...live, ...loaded])
    if (RANKS[event.severity] >= RANKS[severity]) byId.set(event.id, event);
  return [...byId.values()].sort((a, b) => b.seq - a.seq);
}
