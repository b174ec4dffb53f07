import { readFile, realpath } from 'node:fs/promises';
import { totalmem } from 'node:os';
import { join } from 'node:path';
import { AgentError } from '../../base/errors.ts';
import { bundleDigest, embeddingDigest, type Digests } from './digest.ts';
import { MANIFEST_FILE, digestFile, listBundle, readBundleText, refused } from './files.ts';
import type { Bundle, Manifest } from '../manifest.ts';
import { scanOnnx, type OnnxScan } from './onnx-scan.ts';
import { MANIFEST_MAX_BYTES, parseManifest } from './parse-manifest.ts';
import { parseRange, parseVersion } from '../semver.ts';

export interface OpenBundleOptions {
  /** What `requires.agent` is held against; this package's own version when left out. */
  readonly agentVersion?: string;
  /** What `requires.memory_mb` is held against; the machine's memory when left out. */
  readonly memoryMb?: number;
  /** Kind of machine that `requires.hardware` is held against; not held against anything when left out. */
  readonly hardware?: string;
  readonly signal?: AbortSignal;
}

/**
 * Reads a bundle and checks all that can be checked without running it: paths, sizes, manifest, digests, tensors stored
 * elsewhere, required agent, memory and hardware. Whether it reproduces its golden outputs is for the vision process to say.
 * Throws `model_not_found`, `model_bundle_refused`, `model_manifest_invalid`, `model_digest_mismatch`,
 * `model_requires`, or the AbortError of the signal.
 */
export async function openBundle(folder: string, options: OpenBundleOptions = {}): Promise<Bundle> {
  const { signal } = options;
  const dir = await bundleFolder(folder);
  const files = await listBundle(dir);
  const manifest = await readManifest(dir, files);
  checkNames(manifest, files);
  const digests = await digestFiles(dir, files.keys(), signal);
  checkDigests(manifest, digests);
  const weights = new Map<string, readonly string[]>();
  for (const { file } of manifest.stages) {
    if (!weights.has(file)) weights.set(file, weightFiles(file, await scanStage(dir, file, files)));
  }
  await checkRequirements(manifest, options);
  return {
    dir,
    manifest,
    digest: bundleDigest(digests),
    embeddingDigest: embeddingDigest(manifest, digests, weights),
  };
}

/** The folder's absolute path. Throws `model_not_found`. */
export function bundleFolder(folder: string): Promise<string> {
  return realpath(folder).catch((error: unknown) => {
    throw new AgentError('model_not_found', 'there is no such bundle', {
      context: { dir: folder },
      cause: error,
    });
  });
}

export async function digestFiles(
  dir: string,
  paths: Iterable<string>,
  signal?: AbortSignal,
): Promise<Digests> {
  const digests = new Map<string, string>();
  for (const path of paths) digests.set(path, await digestFile(join(dir, path), signal));
  return digests;
}

export async function readManifest(dir: string, files: ReadonlyMap<string, number>): Promise<Manifest> {
  const sizeBytes = files.get(MANIFEST_FILE);
  if (sizeBytes === undefined) {
    throw new AgentError('model_not_found', `the folder holds no ${MANIFEST_FILE}`, { context: { dir } });
  }
  if (sizeBytes > MANIFEST_MAX_BYTES) throw refused([`${MANIFEST_FILE} is larger than 4 MiB`]);
  return parseManifest(await readBundleText(join(dir, MANIFEST_FILE)));
}

/** Every file that the manifest names is there; with a `files` list, nothing else is. */
export function checkNames(manifest: Manifest, files: ReadonlyMap<string, number>): void {
  const listed = manifest.files && Object.keys(manifest.files);
  const named = listed ?? [
    ...manifest.stages.map(({ file }) => file),
    ...manifest.golden.map(({ image }) => image),
  ];
  const missing = [...new Set(named)].filter((path) => !files.has(path)).map((path) => `${path} is missing`);
  const stray = [...files.keys()].filter(
    (path) => path !== MANIFEST_FILE && listed?.includes(path) === false,
  );
  const faults = [...missing, ...stray.map((path) => `${path} is not listed in files`)];
  if (faults.length > 0) throw refused(faults);
}

export function checkDigests(manifest: Manifest, digests: Digests): void {
  const wrong = Object.entries(manifest.files ?? {})
    .filter(([path, digest]) => digests.get(path) !== digest)
    .map(([path]) => path);
  if (wrong.length === 0) return;
  throw new AgentError(
    'model_digest_mismatch',
    `other bytes than the manifest promises: ${wrong.join(', ')}`,
    {
      context: { files: wrong },
    },
  );
}

/** Looks into a stage's file; what it refers to must lie in the bundle. Throws `model_bundle_refused`. */
export async function scanStage(
  dir: string,
  file: string,
  files: ReadonlyMap<string, number>,
): Promise<OnnxScan> {
  const scan = await scanOnnx(join(dir, file), file);
  const outside = scan.externalFiles.filter((path) => path.includes('/') || !files.has(path));
  if (outside.length === 0) return scan;
  throw refused(
    outside.map((path) => `${file} takes tensors from ${JSON.stringify(path)}, outside the bundle`),
  );
}

/** The files that hold a stage's weights: the model itself and what it refers to. */
export const weightFiles = (file: string, { externalFiles }: OnnxScan): readonly string[] => [
  file,
  ...externalFiles.toSorted(),
];

/** Throws `model_requires`. */
export async function checkRequirements(
  { requires }: Pick<Manifest, 'requires'>,
  options: OpenBundleOptions,
): Promise<void> {
  const agent = options.agentVersion ?? (await ownVersion());
  const version = parseVersion(agent);
  if (!version || parseRange(requires.agent)?.(version) !== true) {
    throw new AgentError('model_requires', `the model needs agent ${requires.agent}, this is ${agent}`);
  }
  if (options.hardware !== undefined && requires.hardware?.includes(options.hardware) === false) {
    throw new AgentError(
      'model_requires',
      `the model asks for ${requires.hardware.join(' or ')}, this is ${options.hardware}`,
    );
  }
  const memoryMb = options.memoryMb ?? Math.round(totalmem() / 1e6);
  if (requires.memory_mb !== undefined && requires.memory_mb > memoryMb) {
    throw new AgentError(
      'model_requires',
      `the model needs ${requires.memory_mb} MB of memory, here are ${memoryMb}`,
    );
  }
}

/** The same two folders up from src/model and from dist/model. */
async function ownVersion(): Promise<string> {
  const text = await readFile(new URL('../../../package.json', import.meta.url), 'utf8');
  return (JSON.parse(text) as { version: string }).version;
}
