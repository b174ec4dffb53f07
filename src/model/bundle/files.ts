import { createHash } from 'node:crypto';
import { constants, type Dirent } from 'node:fs';
import { lstat, open, readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { AgentError } from '../../base/errors.ts';
import type { Manifest, Stage } from '../manifest.ts';
import type { OnnxScan } from './onnx-scan.ts';

export const MANIFEST_FILE = 'model.json';
const GOLDEN_DIR = 'golden';

/** Size limits of one bundle. They are far above real models, but small enough for the disk of a small board. */
export const BUNDLE_LIMITS = {
  files: 64,
  fileBytes: 512 * 1024 * 1024,
  totalBytes: 2 * 1024 * 1024 * 1024,
} as const;

const NAME = /^[A-Za-z0-9][A-Za-z0-9._-]{0,127}$/;

/** The content of a bundle's directory. */
export interface BundleListing {
  /** Size in bytes by path (`name` or `golden/name`) of every plain file with an allowed name. */
  readonly sizes: ReadonlyMap<string, number>;
  readonly faults: readonly string[];
}

/**
 * Returns the size in bytes of every file of a bundle, by its path (`name` or `golden/name`). Throws `model_not_found`
 * when the directory does not exist. Throws `model_bundle_refused` with all faults for links, directories other than
 * `golden`, special files, names that are not allowed, and files that are too large.
 */
export async function listBundle(dir: string): Promise<ReadonlyMap<string, number>> {
  const { sizes, faults } = await scanBundleDir(dir);
  if (faults.length > 0) throw refuseBundle(faults);
  return sizes;
}

/** Makes the checks of `listBundle`, but returns the faults together with the valid files. Throws `model_not_found`. */
export async function scanBundleDir(dir: string): Promise<BundleListing> {
  const faults: string[] = [];
  const sizes = new Map<string, number>();
  const entries = await readDirectory(dir);
  const golden = entries.find((entry) => entry.name === GOLDEN_DIR && entry.isDirectory());
  const goldenEntries = golden ? await readDirectory(join(dir, GOLDEN_DIR)) : [];
  const found = [
    ...entries.filter((entry) => entry !== golden).map((entry) => ({ entry, path: entry.name })),
    ...goldenEntries.map((entry) => ({ entry, path: `${GOLDEN_DIR}/${entry.name}` })),
  ];
  if (found.length > BUNDLE_LIMITS.files)
    return { sizes, faults: [`${found.length} files, at most ${BUNDLE_LIMITS.files}`] };
  for (const { entry, path } of found) {
    if (!NAME.test(entry.name)) faults.push(`${JSON.stringify(path)} is not an allowed name`);
    else if (entry.isSymbolicLink()) faults.push(`${path} is a link`);
    else if (!entry.isFile()) faults.push(`${path} is not a plain file`);
    else sizes.set(path, (await lstat(join(dir, path))).size);
  }
  for (const [path, sizeBytes] of sizes) {
    if (sizeBytes > BUNDLE_LIMITS.fileBytes) faults.push(`${path} is larger than 512 MiB`);
  }
  const totalBytes = [...sizes.values()].reduce((sum, sizeBytes) => sum + sizeBytes, 0);
  if (totalBytes > BUNDLE_LIMITS.totalBytes) faults.push('the files together are larger than 2 GiB');
  return { sizes, faults };
}

export function refuseBundle(faults: readonly string[]): AgentError {
  return new AgentError('model_bundle_refused', `the bundle is refused: ${faults.join('; ')}`, {
    context: { faults },
  });
}

async function readDirectory(dir: string): Promise<Dirent[]> {
  try {
    return await readdir(dir, { withFileTypes: true });
  } catch (error) {
    throw new AgentError('model_not_found', 'the directory of the bundle cannot be read', {
      context: { dir },
      cause: error,
    });
  }
}

/** Returns the digest `sha256:…` of a file. Reads the file in pieces; never follows a symbolic link. */
export async function digestFile(path: string, signal?: AbortSignal): Promise<string> {
  const file = await open(path, constants.O_RDONLY | constants.O_NOFOLLOW);
  const hash = createHash('sha256');
  for await (const piece of file.createReadStream({ highWaterMark: 256 * 1024, signal })) {
    hash.update(piece as Buffer);
  }
  return `sha256:${hash.digest('hex')}`;
}

/** The digest `sha256:…` of a text. */
export const digestText = (text: string): string =>
  `sha256:${createHash('sha256').update(text).digest('hex')}`;

/** The digest (`sha256:…`) of every file, by the path of the file. */
export type FileDigests = ReadonlyMap<string, string>;

/**
 * One digest over all files of the bundle, model.json included. It is the SHA-256 of the lines that `sha256sum` prints
 * for the files, sorted by path. The command `cd DIR && sha256sum model.json trunk.onnx golden/* … | LC_ALL=C sort -k2
 * | sha256sum` gives the same digest.
 */
export function bundleDigest(digests: FileDigests): string {
  const lines = [...digests]
    .sort(([a], [b]) => (a < b ? -1 : 1))
    .map(([path, digest]) => `${digest.replace('sha256:', '')}  ${path}\n`);
  return digestText(lines.join(''));
}

/**
 * Digest of everything on which an embedding depends: the output of the embedding head, and the weights and inputs of
 * each stage that leads to this output. Golden images, texts and other heads do not change the digest. Null without an
 * embedding head. `scans` names the external tensors of each stage, by the file of the stage.
 */
export function embeddingDigest(
  manifest: Manifest,
  digests: FileDigests,
  scans: ReadonlyMap<string, OnnxScan>,
): string | null {
  const output = manifest.heads.embedding?.output;
  if (output === undefined) return null;
  const stages = stagesLeadingTo(output, manifest.stages).map(({ id, file, inputs }) => ({
    id,
    inputs,
    weights: [file, ...(scans.get(file)?.externalFiles.toSorted() ?? [])].map(
      (path) => digests.get(path) ?? null,
    ),
  }));
  return digestText(canonicalJson({ output, stages }));
}

/** The stages on which an output depends, in the order of the manifest. */
function stagesLeadingTo(output: string, stages: readonly Stage[]): Stage[] {
  const needed = new Set([stageIdOf(output)]);
  for (const stage of stages.toReversed()) {
    if (!needed.has(stage.id)) continue;
    for (const { from } of stage.inputs) {
      for (const source of [from].flat()) if (source !== 'frame') needed.add(stageIdOf(source));
    }
  }
  return stages.filter(({ id }) => needed.has(id));
}

const stageIdOf = (outputRef: string): string => outputRef.slice(0, outputRef.indexOf('.'));

/** JSON with sorted keys in every object, so that the same content always gives the same text. */
function canonicalJson(value: unknown): string {
  return JSON.stringify(value, (_key, part: unknown) =>
    typeof part === 'object' && part !== null && !Array.isArray(part)
      ? Object.fromEntries(Object.entries(part).sort(([a], [b]) => (a < b ? -1 : 1)))
      : part,
  );
}
