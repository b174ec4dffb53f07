import { randomUUID } from 'node:crypto';
import { readFileSync } from 'node:fs';

const BOOT_ID = '/proc/sys/kernel/random/boot_id';

/** The kernel's id of this boot; a new id per call where there is none (macOS, Windows, a hidden /proc). */
export function readBootId(path = BOOT_ID): string {
  try {
    const id = readFileSync(path, 'utf8').trim();
    if (/^[0-9a-f-]{36}$/.test(id)) return id;
  } catch {
    // Not Linux: one id per start has to do.
  }
  return randomUUID();
}
