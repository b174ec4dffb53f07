import { Type, type Static } from '@sinclair/typebox';
import { chmodSync, mkdirSync, renameSync, writeFileSync } from 'node:fs';
import { readFile, readdir } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { syncDirectory } from '../../base/atomic-file.ts';
import { errorCode } from '../../base/disk-errors.ts';
import { AgentError } from '../../base/errors.ts';
import { schemaChecker } from '../../base/schema-checker.ts';

/** The four top-level roles of TUF metadata. The root metadata list and sign the keys of the other roles. */
export const ROLES = ['root', 'targets', 'snapshot', 'timestamp'] as const;
export type Role = (typeof ROLES)[number];
export const isRole = (text: string): text is Role => (ROLES as readonly string[]).includes(text);

/** Path of a metadata file, relative to the repository's directory. */
export const metadataPath = (role: Role, version: number): string =>
  role === 'timestamp' ? 'metadata/timestamp.json' : `metadata/${version}.${role}.json`;

/** Reads the bytes of a file; null when it does not exist. */
export async function readIfExists(path: string): Promise<Buffer | null> {
  return readFile(path).catch((error: unknown) => {
    if (errorCode(error) === 'ENOENT' || errorCode(error) === 'ENOTDIR') return null;
    throw error;
  });
}

/** Version of the newest root metadata in the directory of the repository; 0 without any. */
export async function newestRootVersion(dir: string): Promise<number> {
  const names = await readdir(join(dir, 'metadata')).catch(() => []);
  return Math.max(0, ...names.map((name) => Number(/^([1-9]\d{0,8})\.root\.json$/.exec(name)?.[1] ?? 0)));
}

/**
 * Replaces a file atomically. The new file is on the disk when this returns. `mode`: readable by the owner only, or by
 * everyone.
 */
export function writeFileAtomic(path: string, bytes: string | Uint8Array, mode: 0o600 | 0o644): void {
  mkdirSync(dirname(path), { recursive: true, mode: mode === 0o600 ? 0o700 : 0o755 });
  const part = `${path}.part`;
  writeFileSync(part, bytes, { mode, flush: true });
  chmodSync(part, mode);
  renameSync(part, path);
  syncDirectory(dirname(path));
}

const SETTINGS_FILE = 'repository.json';
const Days = Type.Number({ exclusiveMinimum: 0, maximum: 36_500 });
const Version = Type.Integer({ minimum: 1 });

const SettingsSchema = Type.Object({
  format: Type.Literal(1),
  /** Number of days for which a signature of each role is valid. */
  expires_days: Type.Object({ root: Days, targets: Days, snapshot: Days, timestamp: Days }),
  /** The last metadata versions that were signed with these keys. */
  published: Type.Object({ root: Version, timestamp: Version }),
  /**
   * Written before a root that removes keys, and deleted when all roles have been signed again. While it is present,
   * the former keys are still accepted, but only if the timestamp file still has this digest.
   */
  rotating: Type.Optional(Type.Object({ root: Version, timestamp_sha256: Type.String() })),
});
export type Settings = Static<typeof SettingsSchema>;

const isSettings = schemaChecker({ strict: true }).compile<Settings>(SettingsSchema);

/**
 * Reads the settings in the keys directory; null when there are none. Throws `repo_damaged` when they cannot be read.
 */
export async function readSettings(keysDir: string): Promise<Settings | null> {
  const bytes = await readIfExists(join(keysDir, SETTINGS_FILE));
  if (!bytes) return null;
  try {
    const settings: unknown = JSON.parse(bytes.toString('utf8'));
    if (isSettings(settings)) return settings;
  } catch (error) {
    throw new AgentError('repo_damaged', `${SETTINGS_FILE} in the keys directory is not JSON`, {
      cause: error,
    });
  }
  throw new AgentError('repo_damaged', `${SETTINGS_FILE} in the keys directory has invalid content`);
}

export function writeSettings(keysDir: string, settings: Settings): void {
  writeFileAtomic(join(keysDir, SETTINGS_FILE), `${JSON.stringify(settings, null, 2)}\n`, 0o600);
}
