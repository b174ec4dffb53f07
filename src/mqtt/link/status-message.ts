import { isoTime } from '../../base/clock.ts';
import type { Status } from '../../contract/states.ts';

/** The payload of `…/status`. */
export function statusMessage(state: Status['state'], session: string, nowMs: number): string {
  const status: Status = { state, session, at: isoTime(nowMs) };
  return JSON.stringify(status);
}

/** What stands on the topic, which anyone may have written; null when it is no JSON object. */
export function readStatus(payload: Uint8Array): Partial<Status> | null {
  try {
    const value: unknown = JSON.parse(Buffer.from(payload).toString('utf8'));
    return typeof value === 'object' ? value : null;
  } catch {
    return null;
  }
}

/**
 * The session of another device whose status came to us although nobody here asked for it: one with our client id, whose
 * subscriptions the broker holds as ours. Null for anything else.
 */
export function foreignStatus(topic: string, payload: Uint8Array, session: string): string | null {
  if (!topic.endsWith('/status')) return null;
  const shown = readStatus(payload);
  return typeof shown?.session === 'string' && typeof shown.state === 'string' && shown.session !== session
    ? shown.session.slice(0, 64)
    : null;
}
