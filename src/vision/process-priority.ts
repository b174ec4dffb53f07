import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { setPriority } from 'node:os';

/** What a process that only tries something is held to, so that the work in hand does not suffer. */
export interface ProcessLimits {
  /** Added to the nice value, 0 to 19. */
  readonly niceness: number;
  /** Resident size at which the process ends itself, MiB. */
  readonly hardRssMb: number;
}

const CAP_SYS_NICE = 23n;
/** RLIMIT_NICE counts from nice 20 downwards. */
const RLIMIT_OF_NICE_0 = 20;
/** Nothing is lost with the process but one frame or one trial: it goes before the agent when memory runs out. */
const OOM_SCORE = { serving: 500, trying: 1000 };

/**
 * Gives a process its place behind others: for the CPU, and for the kernel when memory runs out. Call it right after the
 * start, for threads that are there already keep their priority. `restorePriority` takes it back, where that is allowed.
 */
export function lowerPriority(pid: number | undefined, niceness: number): void {
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

/** True where a process that was held back can be given its full rank: as root, or with `LimitNICE=+0` under systemd. */
export function canRestorePriority(): boolean {
  try {
    const capabilities =
      /^CapEff:\s*([0-9a-f]+)$/m.exec(readFileSync('/proc/self/status', 'utf8'))?.[1] ?? '0';
    if (((BigInt(`0x${capabilities}`) >> CAP_SYS_NICE) & 1n) === 1n) return true;
    const limits = readFileSync('/proc/self/limits', 'utf8');
    return Number(/^Max nice priority\s+(\d+)/m.exec(limits)?.[1]) >= RLIMIT_OF_NICE_0;
  } catch {
    return false;
  }
}

/** Ends what `lowerPriority` began, for every thread that is there. Only where `canRestorePriority`. */
export function restorePriority(pid: number | undefined): void {
  if (pid === undefined) return;
  tell(`/proc/${pid}/oom_score_adj`, OOM_SCORE.serving);
  tell(`/proc/${pid}/autogroup`, 0);
  try {
    for (const thread of readdirSync(`/proc/${pid}/task`)) setPriority(Number(thread), 0);
  } catch {
    // It has just ended: its owner is told.
  }
}

function tell(file: string, value: number): void {
  try {
    writeFileSync(file, String(value));
  } catch {
    // Not Linux, a kernel without it, or not allowed.
  }
}
