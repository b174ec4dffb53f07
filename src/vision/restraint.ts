import { writeFileSync } from 'node:fs';
import { setPriority } from 'node:os';

/** What a process that only tries something is held to, so that the work in hand does not suffer. */
export interface Restraint {
  /** Added to the nice value, 0 to 19. */
  readonly niceness: number;
  /** Resident size at which the process ends itself, MiB. */
  readonly hardRssMb: number;
}

/** Nothing is lost with the process but one frame or one trial: it goes before the agent when memory runs out. */
const OOM_SCORE = { serving: 500, trying: 1000 };

/**
 * Gives a process its place behind others: for the CPU, and for the kernel when memory runs out. Call it right after the
 * start, for threads that are there already keep their priority. An unprivileged process cannot take it back.
 */
export function holdBack(pid: number | undefined, niceness: number): void {
  if (pid === undefined) return;
  tell(`/proc/${pid}/oom_score_adj`, niceness > 0 ? OOM_SCORE.trying : OOM_SCORE.serving);
  if (niceness === 0) return;
  try {
    setPriority(pid, niceness);
  } catch {
    // It has just ended, or the system has no such thing: then it is tried at full speed.
  }
  // Each session is a group of its own where the kernel groups by them, and the nice value counts within it alone.
  tell(`/proc/${pid}/autogroup`, niceness);
}

function tell(file: string, value: number): void {
  try {
    writeFileSync(file, String(value));
  } catch {
    // Not Linux, a kernel without it, or not allowed.
  }
}
