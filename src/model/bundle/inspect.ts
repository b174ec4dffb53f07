import { asAgentError, type ErrorCode } from '../../base/errors.ts';
import {
  bundleFolder,
  checkDigests,
  checkNames,
  checkRequirements,
  digestFiles,
  readManifest,
  scanStage,
  weightFiles,
  type OpenBundleOptions,
} from './bundle.ts';
import { bundleDigest, embeddingDigest } from './digest.ts';
import { surveyBundle } from './files.ts';
import type { Manifest } from '../manifest.ts';

export interface BundleFault {
  readonly code: ErrorCode;
  readonly message: string;
}

export interface Inspection {
  /** Every file by its path, with its size in bytes. */
  readonly files: ReadonlyMap<string, number>;
  /** Null when it cannot be read. */
  readonly manifest: Manifest | null;
  /** Nodes of each stage's graph, by its file; missing where that cannot be read. */
  readonly nodes: ReadonlyMap<string, number>;
  /** Null when the folder holds what no bundle can hold. */
  readonly digest: string | null;
  readonly embeddingDigest: string | null;
  readonly faults: readonly BundleFault[];
}

/**
 * Makes every check of `openBundle` and goes on after a fault, so that one round of mending is enough. Throws
 * `model_not_found` when there is no such folder, and the signal's reason.
 */
export async function inspectBundle(folder: string, options: OpenBundleOptions = {}): Promise<Inspection> {
  const faults: BundleFault[] = [];
  const attempt = async <T>(step: () => T | Promise<T>): Promise<T | null> => {
    try {
      return await step();
    } catch (thrown) {
      options.signal?.throwIfAborted();
      faults.push(...faultsOf(thrown));
      return null;
    }
  };
  const dir = await bundleFolder(folder);
  const { sizes: files, faults: found } = await surveyBundle(dir);
  faults.push(...found.map((message) => ({ code: 'model_bundle_refused' as const, message })));
  const manifest = await attempt(() => readManifest(dir, files));
  const digests = await digestFiles(dir, files.keys(), options.signal);
  const nodes = new Map<string, number>();
  const weights = new Map<string, readonly string[]>();
  if (manifest !== null) {
    await attempt(() => checkNames(manifest, files));
    await attempt(() => checkDigests(manifest, digests));
    for (const file of new Set(manifest.stages.map((stage) => stage.file))) {
      const scan = files.has(file) ? await attempt(() => scanStage(dir, file, files)) : null;
      if (scan === null) continue;
      nodes.set(file, scan.nodes);
      weights.set(file, weightFiles(file, scan));
    }
    await attempt(() => checkRequirements(manifest, options));
  }
  return {
    files,
    manifest,
    nodes,
    digest: found.length === 0 ? bundleDigest(digests) : null,
    embeddingDigest: manifest === null ? null : embeddingDigest(manifest, digests, weights),
    faults,
  };
}

/** One for each fault that the error names. */
function faultsOf(thrown: unknown): BundleFault[] {
  const { code, message, context } = asAgentError(thrown);
  const named: unknown = context['faults'];
  if (!Array.isArray(named)) return [{ code, message }];
  return named.map((fault: unknown) => ({ code, message: String(fault) }));
}
