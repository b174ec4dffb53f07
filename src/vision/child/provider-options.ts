import { createHash } from 'node:crypto';
import { mkdirSync, readdirSync, rmSync, statSync, utimesSync } from 'node:fs';
import { join } from 'node:path';
import { readGpuSoftware } from '../hardware/gpu-software.ts';

/** An element of onnxruntime's `executionProviders`. */
type ProviderOption = string | ({ readonly name: string } & Readonly<Record<string, string>>);

/** Directories of compiled engines that stay: for the active and the previous model, a candidate and one more. */
const MAX_CACHES = 4;

/**
 * The provider with its options. TensorRT compiles engines for minutes; it keeps them below `ORT_TENSORRT_CACHE_PATH` if that
 * variable is set and onnxruntime's binding passes the options on. The binding from npm ignores them: see docs/providers.md.
 * Source of the names: onnxruntime, TensorRT execution provider.
 */
export function providerOption(
  provider: string,
  bundleDigest: string,
  environment: NodeJS.ProcessEnv = process.env,
): ProviderOption {
  const base = environment['ORT_TENSORRT_CACHE_PATH'];
  if (provider !== 'tensorrt' || base === undefined || base === '') return provider;
  const directory = prepareCache(base, bundleDigest, environment);
  if (directory === null) return provider;
  return {
    name: provider,
    trt_engine_cache_enable: '1',
    trt_engine_cache_path: directory,
    trt_timing_cache_enable: '1',
    trt_timing_cache_path: directory,
  };
}

/**
 * Makes the directory for the engines of one bundle; null if it cannot be written. An engine is valid only for the versions
 * of the libraries that compiled it, so they are part of the name.
 */
function prepareCache(base: string, bundleDigest: string, environment: NodeJS.ProcessEnv): string | null {
  const identity = JSON.stringify([bundleDigest, readGpuSoftware('/', environment)]);
  const directory = join(base, createHash('sha256').update(identity).digest('hex').slice(0, 16));
  try {
    mkdirSync(directory, { recursive: true, mode: 0o700 });
    const now = new Date();
    utimesSync(directory, now, now);
    for (const path of oldCaches(base, directory)) rmSync(path, { recursive: true, force: true });
    return directory;
  } catch {
    return null;
  }
}

/** All but the directories that were used last, without `current`. */
function oldCaches(base: string, current: string): readonly string[] {
  return readdirSync(base)
    .filter((name) => /^[0-9a-f]{16}$/.test(name))
    .map((name) => join(base, name))
    .filter((path) => path !== current)
    .map((path) => ({ path, usedMs: statSync(path).mtimeMs }))
    .sort((a, b) => b.usedMs - a.usedMs)
    .slice(MAX_CACHES - 1)
    .map(({ path }) => path);
}
