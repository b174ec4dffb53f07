import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { setPriority } from 'node:os';

/** Limits of a process that only tries a model. They protect the process that analyses camera frames. */
export interface ProcessLimits {
  /** Added to the nice value, 0 to 19. */
  readonly niceness: number;
  /** Resident memory at which the process kills itself, MiB. */
  readonly hardRssMb: number;
}

const CAP_SYS_NICE = 23n;
/** RLIMIT_NICE is 20 minus the lowest permitted nice value, so this limit permits nice 0. */
const RLIMIT_OF_NICE_0 = 20;
/** When memory runs out, the kernel should kill this process, not the agent: only a frame or trial is lost. */
const OOM_SCORE_ADJ = { serving: 500, trial: 1000 };
export type ProcessPurpose = keyof typeof OOM_SCORE_ADJ;

/**
 * Lowers the CPU priority of a process, and makes the kernel prefer it when memory runs out. Call this right after the
 * start, because existing threads keep their priority. `restorePriority` undoes it if `canRestorePriority()` is true.
 */
export function lowerPriority(
  pid: number | undefined,
  niceness: number,
  purpose: ProcessPurpose = niceness > 0 ? 'trial' : 'serving',
): void {
  if (pid === undefined) return;
  writeIfPossible(`/proc/${pid}/oom_score_adj`, OOM_SCORE_ADJ[purpose]);
  if (niceness === 0) return;
  try {
    setPriority(pid, niceness);
  } catch {
    // The process has just ended, or the system has no priorities: then it runs at full speed.
  }
  // With Linux autogroup scheduling a nice value counts only within one session: lower the group of the session too.
  writeIfPossible(`/proc/${pid}/autogroup`, niceness);
}

/** True when a lowered priority can be raised again: as root, or with `LimitNICE=+0` under systemd. */
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

/** Undoes `lowerPriority` for every thread of the process. Call it only if `canRestorePriority()` is true. */
export function restorePriority(pid: number | undefined): void {
  if (pid === undefined) return;
  writeIfPossible(`/proc/${pid}/oom_score_adj`, OOM_SCORE_ADJ.serving);
  writeIfPossible(`/proc/${pid}/autogroup`, 0);
  try {
    for (const thread of readdirSync(`/proc/${pid}/task`)) setPriority(Number(thread), 0);
  } catch {
    // The process has just ended: its exit event reports this.
  }
}

function writeIfPossible(file: string, value: number): void {
  try {
    writeFileSync(file, String(value));
  } catch {
    // Not Linux, a kernel without this file, or not permitted.
  }
}
