import { createHash } from 'node:crypto';
import { constants, type Dirent } from 'node:fs';
import { lstat, open, readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { AgentError } from '../../base/errors.ts';

export const MANIFEST_FILE = 'model.json';
const GOLDEN_FOLDER = 'golden';

/** Bounds of one bundle: far above any model for such boards, far below what fills their disks or an afternoon. */
export const BUNDLE_LIMITS = {
  files: 64,
  fileBytes: 512 * 1024 * 1024,
  totalBytes: 2 * 1024 * 1024 * 1024,
} as const;

const NAME = /^[A-Za-z0-9][A-Za-z0-9._-]{0,127}$/;

/** What lies in a bundle's folder. */
export interface BundleSurvey {
  /** Path (`name` or `golden/name`) and size in bytes of every plain file with a usual name. */
  readonly sizes: ReadonlyMap<string, number>;
  readonly faults: readonly string[];
}

/**
 * Path (`name` or `golden/name`) and size in bytes of every file below the bundle's folder.
 * Throws `model_not_found` when there is no such folder, and `model_bundle_refused`, naming every fault at once, for
 * links, folders other than `golden`, things that are no plain files, odd names and sizes over the limits.
 */
export async function listBundle(dir: string): Promise<ReadonlyMap<string, number>> {
  const { sizes, faults } = await surveyBundle(dir);
  if (faults.length > 0) throw refused(faults);
  return sizes;
}

/** As `listBundle`, with the faults beside what is sound. Throws `model_not_found`. */
export async function surveyBundle(dir: string): Promise<BundleSurvey> {
  const faults: string[] = [];
  const sizes = new Map<string, number>();
  const entries = await readFolder(dir);
  const golden = entries.find((entry) => entry.name === GOLDEN_FOLDER && entry.isDirectory());
  const inside = golden ? await readFolder(join(dir, GOLDEN_FOLDER)) : [];
  const found = [
    ...entries.filter((entry) => entry !== golden).map((entry) => ({ entry, path: entry.name })),
    ...inside.map((entry) => ({ entry, path: `${GOLDEN_FOLDER}/${entry.name}` })),
  ];
  if (found.length > BUNDLE_LIMITS.files)
    return { sizes, faults: [`${found.length} files, at most ${BUNDLE_LIMITS.files}`] };
  for (const { entry, path } of found) {
    if (!NAME.test(entry.name)) faults.push(`${JSON.stringify(path)} is an odd name`);
    else if (entry.isSymbolicLink()) faults.push(`${path} is a link`);
    else if (!entry.isFile()) faults.push(`${path} is no plain file`);
    else sizes.set(path, (await lstat(join(dir, path))).size);
  }
  for (const [path, sizeBytes] of sizes) {
    if (sizeBytes > BUNDLE_LIMITS.fileBytes) faults.push(`${path} is larger than 512 MiB`);
  }
  const totalBytes = [...sizes.values()].reduce((sum, sizeBytes) => sum + sizeBytes, 0);
  if (totalBytes > BUNDLE_LIMITS.totalBytes) faults.push('the files are larger than 2 GiB together');
  return { sizes, faults };
}

export function refused(faults: readonly string[]): AgentError {
  return new AgentError('model_bundle_refused', `the bundle is refused: ${faults.join('; ')}`, {
    context: { faults },
  });
}

async function readFolder(dir: string): Promise<Dirent[]> {
  try {
    return await readdir(dir, { withFileTypes: true });
  } catch (error) {
    throw new AgentError('model_not_found', 'the folder of the bundle cannot be read', {
      context: { dir },
      cause: error,
    });
  }
}

/** The file's text; never follows a link. */
export async function readBundleText(path: string): Promise<string> {
  const file = await open(path, constants.O_RDONLY | constants.O_NOFOLLOW);
  try {
    return await file.readFile('utf8');
  } finally {
    await file.close();
  }
}

/** `sha256:…` of a file, read piece by piece; never follows a link. */
export async function digestFile(path: string, signal?: AbortSignal): Promise<string> {
  const file = await open(path, constants.O_RDONLY | constants.O_NOFOLLOW);
  const hash = createHash('sha256');
  for await (const piece of file.createReadStream({ highWaterMark: 256 * 1024, signal })) {
    hash.update(piece as Buffer);
  }
  return `sha256:${hash.digest('hex')}`;
}

/** `sha256:…` of a text. */
export const digestText = (text: string): string =>
  `sha256:${createHash('sha256').update(text).digest('hex')}`;
