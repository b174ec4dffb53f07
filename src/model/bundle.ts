import { readFile, realpath } from 'node:fs/promises';
import { totalmem } from 'node:os';
import { join } from 'node:path';
import { AgentError } from '../errors.ts';
import { bundleDigest, embeddingDigest, type Digests } from './bundle-digest.ts';
import { MANIFEST_FILE, digestFile, listBundle, readBundleText, refused } from './bundle-files.ts';
import type { Bundle, Manifest } from './manifest.ts';
import { scanOnnx } from './onnx-scan.ts';
import { MANIFEST_MAX_BYTES, parseManifest } from './parse-manifest.ts';
import { parseRange, parseVersion } from './semver.ts';

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
  const dir = await realpath(folder).catch((error: unknown) => {
    throw new AgentError('model_not_found', 'there is no such bundle', {
      context: { dir: folder },
      cause: error,
    });
  });
  const files = await listBundle(dir);
  const manifest = await readManifest(dir, files);
  checkNames(manifest, files);
  const digests = new Map<string, string>();
  for (const path of files.keys()) digests.set(path, await digestFile(join(dir, path), signal));
  checkDigests(manifest, digests);
  const weights = await findWeights(dir, manifest, files);
  await checkRequirements(manifest, options);
  return {
    dir,
    manifest,
    digest: bundleDigest(digests),
    embeddingDigest: embeddingDigest(manifest, digests, weights),
  };
}

async function readManifest(dir: string, files: ReadonlyMap<string, number>): Promise<Manifest> {
  const sizeBytes = files.get(MANIFEST_FILE);
  if (sizeBytes === undefined) {
    throw new AgentError('model_not_found', `the folder holds no ${MANIFEST_FILE}`, { context: { dir } });
  }
  if (sizeBytes > MANIFEST_MAX_BYTES) throw refused([`${MANIFEST_FILE} is larger than 4 MiB`]);
  return parseManifest(await readBundleText(join(dir, MANIFEST_FILE)));
}

/** Every file that the manifest names is there; with a `files` list, nothing else is. */
function checkNames(manifest: Manifest, files: ReadonlyMap<string, number>): void {
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

function checkDigests(manifest: Manifest, digests: Digests): void {
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

/** The files that hold each stage's weights: the model itself and what it refers to, which must lie in the bundle. */
async function findWeights(
  dir: string,
  manifest: Manifest,
  files: ReadonlyMap<string, number>,
): Promise<ReadonlyMap<string, readonly string[]>> {
  const weights = new Map<string, readonly string[]>();
  for (const { file } of manifest.stages) {
    if (weights.has(file)) continue;
    const { externalFiles } = await scanOnnx(join(dir, file), file);
    const outside = externalFiles.filter((path) => path.includes('/') || !files.has(path));
    if (outside.length > 0) {
      throw refused(
        outside.map((path) => `${file} takes tensors from ${JSON.stringify(path)}, outside the bundle`),
      );
    }
    weights.set(file, [file, ...externalFiles.toSorted()]);
  }
  return weights;
}

async function checkRequirements({ requires }: Manifest, options: OpenBundleOptions): Promise<void> {
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
  const text = await readFile(new URL('../../package.json', import.meta.url), 'utf8');
  return (JSON.parse(text) as { version: string }).version;
}
