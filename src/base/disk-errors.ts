/** The code of an error of the operating system (`ENOSPC`, …) or of SQLite (`SQLITE_FULL`, …); null when it has none. */
export function errorCode(thrown: unknown): string | null {
  if (!(thrown instanceof Error) || !('code' in thrown)) return null;
  return typeof thrown.code === 'string' ? thrown.code : null;
}

/** True when the file system refused a write for lack of space or quota. */
export const isDiskFull = (thrown: unknown): boolean => /^(ENOSPC|EDQUOT)$/.test(errorCode(thrown) ?? '');
