import { constants } from 'node:fs';
import { readFile, realpath } from 'node:fs/promises';
import { join } from 'node:path';
import { AgentError, asAgentError, type ErrorCode } from '../../base/errors.ts';
import { readUsableMemoryMb } from '../../base/free-memory.ts';
import { minExtraMemoryMb } from '../../base/provider-limits.ts';
import {
  bundleDigest,
  digestFile,
  embeddingDigest,
  listBundle,
  MANIFEST_FILE,
  refuseBundle,
  scanBundleDir,
  type FileDigests,
} from './files.ts';
import { scanOnnx, type OnnxScan } from './onnx-scan.ts';
import { MAX_MANIFEST_BYTES, parseManifest } from './parse-manifest.ts';
import type { Bundle, Manifest } from '../manifest.ts';
import { parseRange, parseVersion } from '../semver.ts';

export interface OpenBundleOptions {
  /** The agent version that is compared with `requires.agent`. The default is the version of this package. */
  readonly agentVersion?: string;
  /** The memory that is compared with `requires.memory_mb`, MiB. The default is what this process may use. */
  readonly memoryMb?: number;
  /**
   * The kind of machine that is compared with `requires.hardware`. When it is undefined, the hardware is not checked.
   */
  readonly hardware?: string;
  readonly signal?: AbortSignal;
}

/**
 * Reads a bundle and makes every check that needs no inference: paths, sizes, manifest, digests, tensors in other
 * files, and the required agent, memory and hardware. (The vision process checks the golden outputs.) Stops at the
 * first fault. Throws `model_not_found`, `model_bundle_refused`, `model_manifest_invalid`, `model_digest_mismatch`,
 * `model_requires`, or the AbortError of the signal.
 */
export async function openBundle(path: string, options: OpenBundleOptions = {}): Promise<Bundle> {
  const dir = await realBundleDir(path);
  const files = await listBundle(dir);
  const manifest = await readManifest(dir, files);
  checkFileNames(manifest, files);
  const digests = await digestFiles(dir, files.keys(), options.signal);
  const scans = await checkContent({ dir, files, digests }, manifest, options, (check) => check());
  return {
    dir,
    manifest,
    digest: bundleDigest(digests),
    embeddingDigest: embeddingDigest(manifest, digests, scans),
  };
}

export interface BundleFault {
  readonly code: ErrorCode;
  readonly message: string;
}

export interface Inspection {
  /** Size of every file in bytes, by the path of the file. */
  readonly files: ReadonlyMap<string, number>;
  /** Null when the manifest cannot be read. */
  readonly manifest: Manifest | null;
  /** Number of nodes in the graph of each stage, by the file of the stage. Files that cannot be read are missing. */
  readonly nodes: ReadonlyMap<string, number>;
  /** Null when the directory has content that no bundle may have. */
  readonly digest: string | null;
  readonly embeddingDigest: string | null;
  readonly faults: readonly BundleFault[];
}

/**
 * Makes every check of `openBundle`, but continues after a fault, so that the author of a bundle can correct all faults
 * at once. Throws `model_not_found` when the directory does not exist, and the reason of the signal.
 */
export async function inspectBundle(path: string, options: OpenBundleOptions = {}): Promise<Inspection> {
  const faults: BundleFault[] = [];
  const collectFaults = async <T>(step: () => T | Promise<T>): Promise<T | null> => {
    try {
      return await step();
    } catch (thrown) {
      options.signal?.throwIfAborted();
      faults.push(...faultsOf(thrown));
      return null;
    }
  };
  const dir = await realBundleDir(path);
  const { sizes: files, faults: fileFaults } = await scanBundleDir(dir);
  faults.push(...fileFaults.map((message) => ({ code: 'model_bundle_refused' as const, message })));
  const manifest = await collectFaults(() => readManifest(dir, files));
  const digests = await digestFiles(dir, files.keys(), options.signal);
  let scans: ReadonlyMap<string, OnnxScan> = new Map();
  if (manifest !== null) {
    await collectFaults(() => checkFileNames(manifest, files));
    scans = await checkContent({ dir, files, digests }, manifest, options, collectFaults);
  }
  return {
    files,
    manifest,
    nodes: new Map([...scans].map(([file, { nodes }]) => [file, nodes])),
    digest: fileFaults.length === 0 ? bundleDigest(digests) : null,
    embeddingDigest: manifest === null ? null : embeddingDigest(manifest, digests, scans),
    faults,
  };
}

interface Content {
  readonly dir: string;
  readonly files: ReadonlyMap<string, number>;
  readonly digests: FileDigests;
}

/** Runs the checks of the files with `run`. Returns the scans of the stages, by the file of the stage. */
async function checkContent(
  { dir, files, digests }: Content,
  manifest: Manifest,
  options: OpenBundleOptions,
  run: <T>(check: () => T | Promise<T>) => T | Promise<T | null>,
): Promise<ReadonlyMap<string, OnnxScan>> {
  await run(() => checkDigests(manifest, digests));
  const scans = new Map<string, OnnxScan>();
  for (const file of new Set(manifest.stages.map((stage) => stage.file))) {
    const scan = files.has(file) ? await run(() => scanStage(dir, file, files)) : null;
    if (scan !== null) scans.set(file, scan);
  }
  await run(() => checkRequirements(manifest, options));
  return scans;
}

/** Returns the faults that the error lists, each as a separate fault. */
function faultsOf(thrown: unknown): BundleFault[] {
  const { code, message, context } = asAgentError(thrown);
  const listed: unknown = context['faults'];
  if (!Array.isArray(listed)) return [{ code, message }];
  return listed.map((fault: unknown) => ({ code, message: String(fault) }));
}

/** Returns the absolute path of the directory, with links resolved. Throws `model_not_found`. */
function realBundleDir(path: string): Promise<string> {
  return realpath(path).catch((error: unknown) => {
    throw new AgentError('model_not_found', 'there is no such bundle', {
      context: { dir: path },
      cause: error,
    });
  });
}

async function digestFiles(dir: string, paths: Iterable<string>, signal?: AbortSignal): Promise<FileDigests> {
  const digests = new Map<string, string>();
  for (const path of paths) digests.set(path, await digestFile(join(dir, path), signal));
  return digests;
}

async function readManifest(dir: string, files: ReadonlyMap<string, number>): Promise<Manifest> {
  const sizeBytes = files.get(MANIFEST_FILE);
  if (sizeBytes === undefined) {
    throw new AgentError('model_not_found', `the directory has no ${MANIFEST_FILE}`, { context: { dir } });
  }
  if (sizeBytes > MAX_MANIFEST_BYTES) throw refuseBundle([`${MANIFEST_FILE} is larger than 4 MiB`]);
  const flag = constants.O_RDONLY | constants.O_NOFOLLOW;
  return parseManifest(await readFile(join(dir, MANIFEST_FILE), { encoding: 'utf8', flag }));
}

/**
 * Checks that every file that the manifest names exists. If the manifest has a `files` list, also checks that there are
 * no other files.
 */
function checkFileNames(manifest: Manifest, files: ReadonlyMap<string, number>): void {
  const listed = manifest.files && Object.keys(manifest.files);
  const named = listed ?? [
    ...manifest.stages.map(({ file }) => file),
    ...manifest.golden.map(({ image }) => image),
  ];
  const missing = [...new Set(named)].filter((path) => !files.has(path)).map((path) => `${path} is missing`);
  const unlisted = [...files.keys()].filter(
    (path) => path !== MANIFEST_FILE && listed?.includes(path) === false,
  );
  const faults = [...missing, ...unlisted.map((path) => `${path} is not listed in files`)];
  if (faults.length > 0) throw refuseBundle(faults);
}

function checkDigests(manifest: Manifest, digests: FileDigests): void {
  const wrong = Object.entries(manifest.files ?? {})
    .filter(([path, digest]) => digests.get(path) !== digest)
    .map(([path]) => path);
  if (wrong.length === 0) return;
  throw new AgentError(
    'model_digest_mismatch',
    `the manifest states another digest for: ${wrong.join(', ')}`,
    { context: { files: wrong } },
  );
}

/**
 * Scans the ONNX file of a stage, and checks that the files with its external tensors are in the bundle. Throws
 * `model_bundle_refused`.
 */
async function scanStage(dir: string, file: string, files: ReadonlyMap<string, number>): Promise<OnnxScan> {
  const scan = await scanOnnx(join(dir, file), file);
  const outside = scan.externalFiles.filter((path) => path.includes('/') || !files.has(path));
  if (outside.length === 0) return scan;
  throw refuseBundle(
    outside.map((path) => `${file} reads tensors from ${JSON.stringify(path)}, which is not in the bundle`),
  );
}

/** Checks the requirements of a model. Throws `model_requires`. */
export async function checkRequirements(
  { requires }: Pick<Manifest, 'requires'>,
  options: OpenBundleOptions,
): Promise<void> {
  const agent = options.agentVersion ?? (await packageVersion());
  const version = parseVersion(agent);
  if (!version || parseRange(requires.agent)?.(version) !== true) {
    throw new AgentError('model_requires', `the model needs agent ${requires.agent}, this is ${agent}`);
  }
  if (options.hardware !== undefined && requires.hardware?.includes(options.hardware) === false) {
    throw new AgentError(
      'model_requires',
      `the model needs ${requires.hardware.join(' or ')}, this is ${options.hardware}`,
    );
  }
  const memoryMb = options.memoryMb ?? readUsableMemoryMb();
  const neededMb = Math.max(requires.memory_mb ?? 0, minExtraMemoryMb(requires.providers));
  if (neededMb > memoryMb) {
    throw new AgentError(
      'model_requires',
      `the model needs ${neededMb} MB of memory, this machine has ${memoryMb} MB`,
    );
  }
}

/** The version in package.json, which is three directories above both src/model/bundle and dist/model/bundle. */
async function packageVersion(): Promise<string> {
  const text = await readFile(new URL('../../../package.json', import.meta.url), 'utf8');
  return (JSON.parse(text) as { version: string }).version;
}
