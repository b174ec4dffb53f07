import { readFileSync, readdirSync } from 'node:fs';

/** Resident memory of a process, MB of 2^20 bytes. */
export function rssMb(pid: number): number {
  const line = /VmRSS:\s+(\d+) kB/.exec(readFileSync(`/proc/${pid}/status`, 'utf8'));
  return Number(line?.[1] ?? Number.NaN) / 1024;
}

/** Memory of a process that it shares with no other one, MB of 2^20 bytes; 0 when it has ended. */
export function privateMb(pid: number): number {
  try {
    const text = readFileSync(`/proc/${pid}/smaps_rollup`, 'utf8');
    const sizes = [...text.matchAll(/^Private_(?:Clean|Dirty): +(\d+) kB$/gm)];
    return sizes.reduce((sum, [, kb]) => sum + Number(kb), 0) / 1024;
  } catch {
    return 0;
  }
}

const TICKS_PER_S = 100;

/** CPU time of a process and its reaped children, s. */
export function cpuS(pid: number): number {
  const text = readFileSync(`/proc/${pid}/stat`, 'utf8');
  const fields = text
    .slice(text.lastIndexOf(')') + 2)
    .split(' ')
    .map(Number);
  const [utime = 0, stime = 0, cutime = 0, cstime = 0] = fields.slice(11, 15);
  return (utime + stime + cutime + cstime) / TICKS_PER_S;
}

/** Bytes that a process has caused to be written to disk. */
export function writtenBytes(pid: number): number {
  const line = /^write_bytes: (\d+)$/m.exec(readFileSync(`/proc/${pid}/io`, 'utf8'));
  return Number(line?.[1] ?? Number.NaN);
}

export interface ChildProcessEntry {
  readonly pid: number;
  readonly command: string;
}

/** The direct children of a process with their command lines. */
export function childrenOf(pid: number): readonly ChildProcessEntry[] {
  const found: ChildProcessEntry[] = [];
  for (const name of readdirSync('/proc')) {
    if (!/^\d+$/.test(name)) continue;
    try {
      const stat = readFileSync(`/proc/${name}/stat`, 'utf8');
      const parent = Number(stat.slice(stat.lastIndexOf(')') + 2).split(' ')[1]);
      if (parent === pid)
        found.push({
          pid: Number(name),
          command: readFileSync(`/proc/${name}/cmdline`, 'utf8').replaceAll('\0', ' '),
        });
    } catch {
      // The process has exited since readdir.
    }
  }
  return found;
}
