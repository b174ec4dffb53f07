import { readFileSync } from 'node:fs';
import { AgentError } from '../base/errors.ts';

// linux/prctl.h
const PR_CAP_AMBIENT = 47;
const PR_CAP_AMBIENT_CLEAR_ALL = 4;

/**
 * Keeps a capability of this process from the programs that it starts, such as ffmpeg. bin/swellsight.sh gives it as an
 * ambient capability, because only those survive the start of Node as an unprivileged user. Call it before any other
 * thread starts programs: the kernel stores the set for each thread. Throws `internal`. Source: capabilities(7).
 */
export async function dropAmbientCapabilities(): Promise<void> {
  if (process.platform !== 'linux' || !hasAmbientCapabilities()) return;
  const { default: koffi } = await import('koffi');
  const prctl = koffi.load(null).func('int prctl(int, ulong, ulong, ulong, ulong)') as (
    ...args: number[]
  ) => number;
  if (prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0) !== 0)
    throw new AgentError('internal', 'cannot drop the ambient capabilities');
}

function hasAmbientCapabilities(): boolean {
  try {
    return /^CapAmb:\t(?!0+$)/m.test(readFileSync('/proc/self/status', 'utf8'));
  } catch {
    // Without /proc nothing is known, so try to drop them.
    return true;
  }
}
