import { createHash } from 'node:crypto';
import { closeSync, constants, existsSync, fstatSync, openSync, readFileSync, renameSync } from 'node:fs';
import { replaceFile } from '../../base/atomic-file.ts';
import { asSlots } from './schema.ts';
import type { SlotsState } from '../types.ts';

/** Far above what slots, one install and the refused digests take. */
const MAX_BYTES = 1024 * 1024;
/** The file grows in steps, so that a change can be written over it when the disk is full. */
const STEP_BYTES = 16 * 1024;
/** Broken files that are kept for a person to look at. */
const MAX_SET_ASIDE = 9;

export type SlotsRead =
  | { readonly kind: 'none' }
  | { readonly kind: 'slots'; readonly slots: SlotsState }
  /** It cannot be used: what is wrong with it. */
  | { readonly kind: 'broken'; readonly fault: string };

/** Reads the file of the slots; never follows a link and never throws. */
export function readSlots(path: string): SlotsRead {
  let text: string | null;
  try {
    text = readPlain(path);
  } catch (thrown) {
    if (isMissing(thrown)) return { kind: 'none' };
    return { kind: 'broken', fault: thrown instanceof Error ? thrown.message : String(thrown) };
  }
  if (text === null) return { kind: 'broken', fault: 'it is no plain file, or too large' };
  return parseSlots(text);
}

/** Replaces the file of the slots: after a power cut the former or the new one is there. Throws as the disk does. */
export function writeSlots(path: string, slots: SlotsState): void {
  const text = `${JSON.stringify({ ...slots, check: checkOf(slots) }, null, 1)}\n`;
  const sizeBytes = Buffer.byteLength(text);
  replaceFile(path, text + ' '.repeat(Math.ceil(sizeBytes / STEP_BYTES) * STEP_BYTES - sizeBytes));
}

/** Renames a file that cannot be used; its new name. Throws as the disk does. */
export function setAside(path: string): string {
  let number = 1;
  while (number < MAX_SET_ASIDE && existsSync(`${path}.broken-${String(number)}`)) number++;
  const aside = `${path}.broken-${String(number)}`;
  renameSync(path, aside);
  return aside;
}

function readPlain(path: string): string | null {
  // A pipe that stands there must not hold up the start.
  const fd = openSync(path, constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK);
  try {
    const found = fstatSync(fd);
    return found.isFile() && found.size <= MAX_BYTES ? readFileSync(fd, 'utf8') : null;
  } finally {
    closeSync(fd);
  }
}

function parseSlots(text: string): SlotsRead {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    return { kind: 'broken', fault: 'it is no JSON' };
  }
  const { check, ...rest } = isRecord(value) ? value : {};
  const read = asSlots(rest);
  if ('fault' in read) return { kind: 'broken', fault: read.fault };
  if (check !== undefined && check !== checkOf(read.slots))
    return { kind: 'broken', fault: 'its check does not fit its content' };
  return { kind: 'slots', slots: read.slots };
}

/** Tells a file that a power cut tore while it was written over: parts of two states may fit together by chance. */
const checkOf = (slots: SlotsState): string =>
  createHash('sha256').update(JSON.stringify(slots)).digest('hex').slice(0, 16);

const isRecord = (value: unknown): value is Record<string, unknown> =>
  typeof value === 'object' && value !== null && !Array.isArray(value);

const isMissing = (thrown: unknown): boolean =>
  thrown instanceof Error && 'code' in thrown && (thrown.code === 'ENOENT' || thrown.code === 'ENOTDIR');
