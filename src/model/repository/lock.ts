import { randomUUID } from 'node:crypto';
import { linkSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { hostname } from 'node:os';
import { join } from 'node:path';
import { errorCode } from '../../base/disk-errors.ts';
import { AgentError } from '../../base/errors.ts';

interface LockHolder {
  readonly pid: number;
  readonly host: string;
  readonly id: string;
  /** The boot and the start time of the process: its id may be used again. Absent without /proc. */
  readonly started?: string | null;
}

/**
 * Runs `work` while no other process writes to the directory of the repository. Takes over a lock whose process ran on
 * this machine and has exited. Does not take over a lock of another machine, because it cannot know the processes
 * there. Throws `repo_busy`.
 */
export async function withLock<T>(dir: string, work: () => Promise<T>): Promise<T> {
  const release = acquireLock(dir);
  try {
    return await work();
  } finally {
    release();
  }
}

function acquireLock(dir: string): () => void {
  const path = join(dir, '.lock');
  const self: LockHolder = {
    pid: process.pid,
    host: hostname(),
    id: randomUUID(),
    started: startOf(process.pid),
  };
  const ownFile = `${path}.${self.id}`;
  writeFileSync(ownFile, JSON.stringify(self), { mode: 0o644 });
  {
    using _ownFile = { [Symbol.dispose]: () => rmSync(ownFile, { force: true }) };
    if (!tryLink(ownFile, path)) {
      const holder = readHolder(path);
      if (holder !== null && !hasExited(holder)) throw busy(holder);
      breakLock(path, holder);
      if (!tryLink(ownFile, path)) throw busy(readHolder(path));
    }
  }
  return () => {
    if (readHolder(path)?.id === self.id) rmSync(path, { force: true });
  };
}

/**
 * Creates the lock file as a hard link. This is atomic, so the lock file always names the process that holds the lock.
 */
function tryLink(ownFile: string, path: string): boolean {
  try {
    linkSync(ownFile, path);
    return true;
  } catch (error) {
    if (errorCode(error) === 'EEXIST') return false;
    throw error;
  }
}

/** Removes the lock of a process that has exited. If another process has taken the lock in between, restores it. */
function breakLock(path: string, holder: LockHolder | null): void {
  const aside = `${path}.${randomUUID()}`;
  try {
    renameSync(path, aside);
  } catch {
    return;
  }
  if (readHolder(aside)?.id !== holder?.id) tryLink(aside, path);
  rmSync(aside, { force: true });
}

function readHolder(path: string): LockHolder | null {
  try {
    return JSON.parse(readFileSync(path, 'utf8')) as LockHolder;
  } catch {
    return null;
  }
}

function hasExited({ pid, host, started }: LockHolder): boolean {
  if (host !== hostname()) return false;
  if (started && startOf(process.pid) !== null && startOf(pid) !== started) return true;
  if (pid === process.pid) return false;
  try {
    process.kill(pid, 0);
    return false;
  } catch (error) {
    return errorCode(error) === 'ESRCH';
  }
}

/** Identifies a process by the boot and its start time, in clock ticks since the boot; null when it does not exist. */
function startOf(pid: number): string | null {
  try {
    const boot = readFileSync('/proc/sys/kernel/random/boot_id', 'utf8').trim();
    // The name of the program is in brackets and may contain spaces. After it come the fields from the third one on.
    const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
    const ticks = stat.slice(stat.lastIndexOf(')') + 2).split(' ')[19] ?? '';
    return `${boot}/${ticks}`;
  } catch {
    return null;
  }
}

const busy = (holder: LockHolder | null): AgentError =>
  new AgentError(
    'repo_busy',
    holder === null
      ? 'another process is writing to the repository'
      : `process ${holder.pid} on ${holder.host} is writing to the repository`,
  );
