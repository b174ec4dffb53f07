import { readFileSync } from 'node:fs';

const KB_PER_MB = 1024;

/**
 * Resident memory of a running process, MiB; null where there is no /proc or the process has ended. Read in kB, because
 * the pages of /proc/PID/statm are 4 or 16 KiB, depending on the kernel. Source: proc(5).
 */
export function residentMb(pid: number | undefined): number | null {
  if (pid === undefined) return null;
  try {
    const kb = /^VmRSS:\s+(\d+) kB$/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1];
    return kb === undefined ? null : Number(kb) / KB_PER_MB;
  } catch {
    return null;
  }
}
