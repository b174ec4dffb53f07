import { readdir, readFile } from 'node:fs/promises';

/** Trimmed text of a small file in /proc or /sys; null when it is not there, not allowed or empty. */
export async function readText(path: string): Promise<string | null> {
  try {
    const text = (await readFile(path, 'utf8')).trim();
    return text === '' ? null : text;
  } catch {
    return null;
  }
}

export async function readNumber(path: string): Promise<number | null> {
  const text = await readText(path);
  if (text === null) return null;
  const value = Number(text);
  return Number.isFinite(value) ? value : null;
}

/** Names in a directory, sorted; empty when it cannot be read. */
export async function readNames(path: string): Promise<readonly string[]> {
  try {
    return (await readdir(path)).sort();
  } catch {
    return [];
  }
}
