import { createHash } from 'node:crypto';
import { closeSync, constants, existsSync, fstatSync, openSync, readFileSync, renameSync } from 'node:fs';
import { Type, type Static, type TSchema } from '@sinclair/typebox';
import { replaceFile } from '../../base/atomic-file.ts';
import { errorCode } from '../../base/disk-errors.ts';
import type { ErrorCode } from '../../base/errors.ts';
import { schemaChecker } from '../../base/schema-checker.ts';
import { INSTALL_PHASES } from '../../contract/model.ts';
import { Nullable } from '../../contract/schema-parts.ts';
import type { SlotsState } from '../types.ts';

/** Larger files are refused. A file with all slots, one install and all refused digests is far smaller. */
const MAX_FILE_BYTES = 1024 * 1024;
/**
 * The size of the file is rounded up to a multiple of this, so that the next, slightly longer state fits even on a full
 * disk.
 */
const PADDING_BYTES = 16 * 1024;
/** At most this many damaged slots files are kept for inspection. */
const MAX_BROKEN_FILES = 9;

/** `fault` says why the state cannot be used. */
export type SlotsRead = { readonly slots: SlotsState } | { readonly fault: string };

/** Reads the slots file; null when it is missing. Never follows a symbolic link and never throws. */
export function readSlotsFile(path: string): SlotsRead | null {
  let text: string | null;
  try {
    text = readRegularFile(path);
  } catch (thrown) {
    if (isMissing(thrown)) return null;
    return { fault: thrown instanceof Error ? thrown.message : String(thrown) };
  }
  if (text === null) return { fault: 'it is not a regular file, or it is too large' };
  return parseSlotsText(text);
}

/**
 * Replaces the slots file. After a power cut the file has either the old or the new content. Throws file system errors.
 */
export function writeSlotsFile(path: string, slots: SlotsState): void {
  const text = `${JSON.stringify({ ...slots, check: checksumOf(slots) }, null, 1)}\n`;
  const sizeBytes = Buffer.byteLength(text);
  replaceFile(path, text + ' '.repeat(Math.ceil(sizeBytes / PADDING_BYTES) * PADDING_BYTES - sizeBytes));
}

/** Renames a damaged file to `{path}.broken-{n}` and returns the new name. Throws file system errors. */
export function setBrokenFileAside(path: string): string {
  let number = 1;
  while (number < MAX_BROKEN_FILES && existsSync(`${path}.broken-${String(number)}`)) number++;
  const aside = `${path}.broken-${String(number)}`;
  renameSync(path, aside);
  return aside;
}

function readRegularFile(path: string): string | null {
  // O_NONBLOCK: if the path is a named pipe, opening it must not block the start of the agent.
  const fd = openSync(path, constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK);
  using _closed = { [Symbol.dispose]: () => closeSync(fd) };
  const found = fstatSync(fd);
  return found.isFile() && found.size <= MAX_FILE_BYTES ? readFileSync(fd, 'utf8') : null;
}

function parseSlotsText(text: string): SlotsRead {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    return { fault: 'it is not JSON' };
  }
  const { check, ...rest } = isRecord(value) ? value : {};
  const read = parseSlotsState(rest);
  if ('slots' in read && check !== undefined && check !== checksumOf(read.slots))
    return { fault: 'its checksum does not match its content' };
  return read;
}

/**
 * The checksum detects a slots file of which a power cut left one half old and one half new: such a mixture may be
 * valid JSON.
 */
const checksumOf = (slots: SlotsState): string =>
  createHash('sha256').update(JSON.stringify(slots)).digest('hex').slice(0, 16);

const isRecord = (value: unknown): value is Record<string, unknown> =>
  typeof value === 'object' && value !== null && !Array.isArray(value);

const isMissing = (thrown: unknown): boolean => /^(ENOENT|ENOTDIR)$/.test(errorCode(thrown) ?? '');

/*
 * The schemas below accept unknown keys, because a newer version of the agent may have written them, and an older
 * version must still find its model. Every known key without `Optional` is required, and every known key is checked.
 */

const Digest = Type.String({ pattern: '^sha256:[0-9a-f]{64}$' });
const Text = Type.String();
const Millis = Type.Number();
const Count = Type.Integer({ minimum: 0 });
/**
 * An error code. Another version of the agent may have written a code that this version does not know; such a code is
 * reported unchanged.
 */
const Code = Type.Unsafe<ErrorCode>(Type.String({ pattern: '^[a-z0-9_]{1,64}$' }));

const ref = { name: Text, version: Text, digest: Digest };
const Slot = Type.Object({ ...ref, trusted: Type.Boolean(), expiryUnchecked: Type.Optional(Type.Boolean()) });

const Source = Type.Union([
  Type.Object({ kind: Type.Literal('repository') }),
  Type.Object({ kind: Type.Literal('mqtt'), sizeBytes: Count, digest: Text }),
]);

const Forecast = Type.Object({
  camera: Text,
  labels: Count,
  outcome: Type.Union([
    Type.Literal('kept'),
    Type.Literal('refitted'),
    Type.Literal('lost'),
    Type.Literal('none'),
  ]),
  refittedLabels: Count,
  looMaeBeforeM: Nullable(Type.Number()),
  looMaeAfterM: Nullable(Type.Number()),
});

const Shadow = Type.Object({
  frames: Count,
  failures: Count,
  activeP50Ms: Nullable(Type.Number()),
  candidateP50Ms: Nullable(Type.Number()),
  heightMeanDifferenceM: Nullable(Type.Number()),
  heightMaxDifferenceM: Nullable(Type.Number()),
  directionDiffers01: Nullable(Type.Number()),
  breakingDiffers01: Nullable(Type.Number()),
  calibrations: Type.Array(Forecast),
});

const Install = Type.Object({
  updateId: Type.String({ pattern: '^[A-Za-z0-9-]{1,64}$' }),
  name: Text,
  version: Text,
  digest: Nullable(Text),
  source: Source,
  phase: Type.Union(INSTALL_PHASES.map((phase) => Type.Literal(phase))),
  reason: Nullable(Type.Object({ code: Code, message: Text })),
  startedAtMs: Millis,
  phaseAtMs: Millis,
  bytes: Count,
  totalBytes: Nullable(Count),
  candidate: Nullable(Type.Object(ref)),
  trusted: Type.Boolean(),
  shadow: Nullable(Shadow),
  probation: Nullable(
    Type.Object({
      answers: Count,
      failures: Count,
      failedStarts: Count,
      elapsedMs: Type.Optional(Type.Number({ minimum: 0 })),
      formerErrorRate01: Type.Optional(Type.Number({ minimum: 0, maximum: 1 })),
    }),
  ),
  attempts: Type.Optional(Count),
  former: Type.Optional(Nullable(Type.Object({ active: Nullable(Slot), previous: Nullable(Slot) }))),
});

const Slots = Type.Object({
  format: Type.Literal(1),
  active: Nullable(Slot),
  previous: Nullable(Slot),
  candidate: Nullable(Slot),
  install: Nullable(Install),
  refused: Type.Array(Type.Object({ ...ref, code: Code, atMs: Millis }), { maxItems: 1000 }),
});

const isSlotsState = schemaChecker({ strict: true }).compile<Static<typeof Slots>>(Slots satisfies TSchema);

/** Validates a parsed slots file. `fault` names the first invalid place. */
export function parseSlotsState(value: unknown): SlotsRead {
  if (isSlotsState(value)) return { slots: value };
  const error = isSlotsState.errors?.[0];
  return { fault: `${error?.instancePath.slice(1) || 'the file'} ${error?.message ?? 'is invalid'}` };
}
