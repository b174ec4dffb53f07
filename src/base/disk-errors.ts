import { firstFailure } from './closing.ts';

/** The code of an error of the operating system (`ENOSPC`, …) or of SQLite (`SQLITE_FULL`, …); null when it has none. */
export function errorCode(thrown: unknown): string | null {
  const first = firstFailure(thrown);
  if (!(first instanceof Error) || !('code' in first)) return null;
  return typeof first.code === 'string' ? first.code : null;
}

/** True when the file system refused a write for lack of space or quota. */
export const isDiskFull = (thrown: unknown): boolean => /^(ENOSPC|EDQUOT)$/.test(errorCode(thrown) ?? '');
