import { createHash } from 'node:crypto';
import { constants } from 'node:fs';
import { open, readFile, readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { AgentError } from '../base/errors.ts';
import { schemaChecker } from '../base/schema-checker.ts';
import { Release, type InstalledVersion } from '../contract/update-files.ts';

const isRelease = schemaChecker({ strict: true, validateFormats: false }).compile<Release>(Release);

const RELEASE_FILE = 'release.json';
/** Holds the digest of the archive from which a version was unpacked. It is not in the archive. */
export const DIGEST_FILE = 'archive.sha256';
const MAX_RELEASE_BYTES = 4 * 1024 * 1024;
/** What systemd and the updater start must be an executable file. */
const PROGRAM = 'node/bin/node';
const EXECUTABLE = 0o755;

/** The description of an unpacked version; null when it is missing or damaged. */
export async function readRelease(dir: string): Promise<Release | null> {
  try {
    await using file = await open(join(dir, RELEASE_FILE), constants.O_RDONLY | constants.O_NOFOLLOW);
    if ((await file.stat()).size > MAX_RELEASE_BYTES) return null;
    const release: unknown = JSON.parse(await file.readFile('utf8'));
    return isRelease(release) ? release : null;
  } catch {
    return null;
  }
}

/**
 * Checks an unpacked version: it has exactly the files of its release.json, with these sizes, digests and permissions, and
 * no links. Throws `update_archive_refused`.
 */
export async function checkRelease(
  dir: string,
  { version }: InstalledVersion,
  signal?: AbortSignal,
): Promise<Release> {
  const release = await readRelease(dir);
  if (release === null) throw refused('release.json is missing or damaged');
  if (release.version !== version) throw refused(`release.json names the version ${release.version}`);
  if (release.files[PROGRAM]?.mode !== EXECUTABLE) throw refused(`${PROGRAM} is not executable`);
  const found = new Set<string>();
  for (const path of await listFiles(dir, '')) {
    if (path === RELEASE_FILE || path === DIGEST_FILE) continue;
    const expected = Object.hasOwn(release.files, path) ? release.files[path] : undefined;
    if (expected === undefined) throw refused(`${path} is not in release.json`);
    await checkFile(dir, path, expected, signal);
    found.add(path);
  }
  const missing = Object.keys(release.files).find((path) => !found.has(path));
  if (missing !== undefined) throw refused(`${missing} is missing`);
  return release;
}

/** The paths of all files; throws for a link or a special file. */
async function listFiles(dir: string, below: string): Promise<string[]> {
  const paths: string[] = [];
  for (const entry of await readdir(join(dir, below), { withFileTypes: true })) {
    const path = below === '' ? entry.name : `${below}/${entry.name}`;
    if (entry.isDirectory()) paths.push(...(await listFiles(dir, path)));
    else if (entry.isFile()) paths.push(path);
    else throw refused(`${path} is a link or a special file`);
  }
  return paths;
}

async function checkFile(
  dir: string,
  path: string,
  expected: Release['files'][string],
  signal: AbortSignal | undefined,
): Promise<void> {
  await using file = await open(join(dir, path), constants.O_RDONLY | constants.O_NOFOLLOW);
  const { size, mode } = await file.stat();
  if (size !== expected.size) throw refused(`${path} has another size than in release.json`);
  if ((mode & 0o777) !== expected.mode) throw refused(`${path} has other permissions than in release.json`);
  const hash = createHash('sha256');
  for await (const piece of file.createReadStream({ autoClose: false, highWaterMark: 262_144, signal }))
    hash.update(piece as Buffer);
  if (hash.digest('hex') !== expected.sha256)
    throw refused(`${path} has another content than in release.json`);
}

/** The digest that was stored with a version; null without one. */
export const readArchiveDigest = async (dir: string): Promise<string | null> => {
  const text = (await readFile(join(dir, DIGEST_FILE), 'utf8').catch(() => '')).trim();
  return /^[0-9a-f]{64}$/.test(text) ? text : null;
};

const refused = (reason: string): AgentError =>
  new AgentError('update_archive_refused', `the archive is refused: ${reason}`);
