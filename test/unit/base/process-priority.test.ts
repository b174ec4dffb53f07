import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { readdirSync, readFileSync } from 'node:fs';
import { getPriority } from 'node:os';
import { expect, it } from 'vitest';
import { canRestorePriority, restorePriority, lowerPriority } from '../../../src/base/process-priority.ts';

const niceValues = (pid: number): number[] => [
  ...new Set(readdirSync(`/proc/${pid}/task`).map((thread) => getPriority(Number(thread)))),
];
const oomScore = (pid: number): number => Number(readFileSync(`/proc/${pid}/oom_score_adj`, 'utf8'));

it.skipIf(!canRestorePriority())(
  'restores the normal priority of every thread (needs root or LimitNICE)',
  async () => {
    const child = spawn(process.execPath, ['-e', 'console.log(1); setInterval(() => {}, 1000)']);
    const pid = child.pid ?? 0;
    lowerPriority(pid, 10);
    await once(child.stdout, 'data');
    expect([niceValues(pid), oomScore(pid)]).toEqual([[10], 1000]);
    restorePriority(pid);
    expect([niceValues(pid), oomScore(pid)]).toEqual([[0], 500]);
    child.kill('SIGKILL');
    await once(child, 'exit');
    restorePriority(pid);
  },
);
