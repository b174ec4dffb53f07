import { AgentError, type ErrorCode } from '../../base/errors.ts';

/** The code of an error of SQLite (`SQLITE_FULL`, …) or of the operating system (`ENOSPC`, …). */
export function errorCode(thrown: unknown): string | null {
  if (!(thrown instanceof Error) || !('code' in thrown)) return null;
  return typeof thrown.code === 'string' ? thrown.code : null;
}

export const isCorrupt = (thrown: unknown): boolean =>
  /^SQLITE_(CORRUPT|NOTADB|FORMAT)/.test(errorCode(thrown) ?? '');

export const isFull = (thrown: unknown): boolean =>
  /^(SQLITE_FULL|ENOSPC|EDQUOT|SQLITE_IOERR_WRITE|SQLITE_IOERR_SHMSIZE)/.test(errorCode(thrown) ?? '');

/** Errors of SQLite and of the file system as `store_*`; anything else unchanged. */
export function asStoreError(thrown: unknown): unknown {
  const code = errorCode(thrown);
  if (thrown instanceof AgentError || code === null) return thrown;
  if (!/^(SQLITE_|E[A-Z]+$)/.test(code) || code.startsWith('SQLITE_CONSTRAINT')) return thrown;
  // A refused write may be a quota, for which room is made, and is more often a disk that went read-only.
  const full = isFull(thrown) && code !== 'SQLITE_IOERR_WRITE';
  const named: ErrorCode = isCorrupt(thrown) ? 'store_corrupt' : full ? 'store_full' : 'store_failed';
  return new AgentError(named, 'the database refused a read or write', {
    context: { reason: code },
    cause: thrown,
  });
}
