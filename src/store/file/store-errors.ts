import { AgentError, type ErrorCode } from '../../base/errors.ts';
import { errorCode, isDiskFull } from '../../base/disk-errors.ts';

export const isCorrupt = (thrown: unknown): boolean =>
  /^SQLITE_(CORRUPT|NOTADB|FORMAT)/.test(errorCode(thrown) ?? '');

/** True when the write may succeed after space was freed on the disk. */
export const isFull = (thrown: unknown): boolean =>
  isDiskFull(thrown) || /^SQLITE_(FULL|IOERR_WRITE|IOERR_SHMSIZE)/.test(errorCode(thrown) ?? '');

/** Maps errors of SQLite and of the file system to `store_*`; returns any other error unchanged. */
export function asStoreError(thrown: unknown): unknown {
  const code = errorCode(thrown);
  if (thrown instanceof AgentError || code === null) return thrown;
  if (!/^(SQLITE_|E[A-Z]+$)/.test(code) || code.startsWith('SQLITE_CONSTRAINT')) return thrown;
  // SQLITE_IOERR_WRITE can mean a full quota, so `isFull` includes it. Its usual cause is a read-only disk: report
  // that.
  const isSpaceError = isFull(thrown) && code !== 'SQLITE_IOERR_WRITE';
  const named: ErrorCode = isCorrupt(thrown) ? 'store_corrupt' : isSpaceError ? 'store_full' : 'store_failed';
  return new AgentError(named, 'a read or write of the database failed', {
    context: { reason: code },
    cause: thrown,
  });
}
