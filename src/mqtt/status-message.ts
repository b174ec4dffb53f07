import { isoTime } from '../clock.ts';
import type { Status } from '../contract/states.ts';

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
