import { randomUUID } from 'node:crypto';
import { linkSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { hostname } from 'node:os';
import { join } from 'node:path';
import { AgentError } from '../../base/errors.ts';

interface Holder {
  readonly pid: number;
  readonly host: string;
  readonly id: string;
}

/**
 * One writer at a time in a repository's folder. The lock of a process that died on this machine is taken over; one of
 * another machine is not, for it cannot be asked. Throws `repo_busy`.
 */
export async function withLock<T>(dir: string, work: () => Promise<T>): Promise<T> {
  const release = take(dir);
  try {
    return await work();
  } finally {
    release();
  }
}

function take(dir: string): () => void {
  const path = join(dir, '.lock');
  const mine: Holder = { pid: process.pid, host: hostname(), id: randomUUID() };
  const own = `${path}.${mine.id}`;
  writeFileSync(own, JSON.stringify(mine), { mode: 0o644 });
  try {
    if (!linked(own, path)) {
      const holder = read(path);
      if (holder !== null && !isGone(holder)) throw busy(holder);
      breakLock(path, holder);
      if (!linked(own, path)) throw busy(read(path));
    }
  } finally {
    rmSync(own, { force: true });
  }
  return () => {
    if (read(path)?.id === mine.id) rmSync(path, { force: true });
  };
}

/** A link is made whole or not at all: the lock is never there without its holder's name. */
function linked(own: string, path: string): boolean {
  try {
    linkSync(own, path);
    return true;
  } catch (error) {
    if (error instanceof Error && 'code' in error && error.code === 'EEXIST') return false;
    throw error;
  }
}

/** Takes a dead holder's lock away, and puts it back when another one had come in between. */
function breakLock(path: string, holder: Holder | null): void {
  const aside = `${path}.${randomUUID()}`;
  try {
    renameSync(path, aside);
  } catch {
    return;
  }
  if (read(aside)?.id !== holder?.id) linked(aside, path);
  rmSync(aside, { force: true });
}

function read(path: string): Holder | null {
  try {
    return JSON.parse(readFileSync(path, 'utf8')) as Holder;
  } catch {
    return null;
  }
}

function isGone({ pid, host }: Holder): boolean {
  if (host !== hostname()) return false;
  if (pid === process.pid) return false;
  try {
    process.kill(pid, 0);
    return false;
  } catch (error) {
    return error instanceof Error && 'code' in error && error.code === 'ESRCH';
  }
}

const busy = (holder: Holder | null): AgentError =>
  new AgentError(
    'repo_busy',
    holder === null
      ? 'another one writes to the repository'
      : `process ${holder.pid} on ${holder.host} writes to the repository`,
  );
