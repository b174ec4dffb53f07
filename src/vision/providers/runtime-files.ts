import { readdirSync, readFileSync, statSync } from 'node:fs';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import { readGpuSoftware, type GpuSoftware } from '../hardware/gpu-software.ts';

/** The files that onnxruntime-node needs on Linux for CUDA and TensorRT. All of them must come from one build. */
export const GPU_RUNTIME_FILES = [
  'onnxruntime_binding.node',
  'libonnxruntime.so.1',
  'libonnxruntime_providers_shared.so',
  'libonnxruntime_providers_cuda.so',
  'libonnxruntime_providers_tensorrt.so',
] as const;

const require = createRequire(import.meta.url);

/** The installed onnxruntime-node, found without loading it. */
function findRuntime(): { readonly version: string; readonly directory: string } {
  const manifest = require.resolve('onnxruntime-node/package.json');
  const { version } = require(manifest) as { version: string };
  return { version, directory: join(dirname(manifest), 'bin', 'napi-v6', process.platform, process.arch) };
}

/** The files of `GPU_RUNTIME_FILES` that the installed onnxruntime-node lacks. */
export function missingGpuFiles(directory = findRuntime().directory): readonly string[] {
  const present = readNames(directory);
  return GPU_RUNTIME_FILES.filter((name) => !present.includes(name));
}

/**
 * The versions of the C interface, such as `1.30.0`, that the binding asks for and that the library of the same directory
 * has; null if a file cannot be read or has none. The dynamic loader refuses the binding if they differ.
 */
export function readInterfaceVersions(directory = findRuntime().directory): {
  readonly binding: string | null;
  readonly library: string | null;
} {
  return {
    binding: symbolVersion(join(directory, 'onnxruntime_binding.node')),
    library: symbolVersion(join(directory, 'libonnxruntime.so.1')),
  };
}

/** onnxruntime names its symbol version `VERS_` and the version; the name is stored as plain text in both files. */
function symbolVersion(path: string): string | null {
  try {
    return /\0VERS_(\d+\.\d+\.\d+)\0/.exec(readFileSync(path, 'latin1'))?.[1] ?? null;
  } catch {
    return null;
  }
}

/**
 * Identifies everything below the model that decides whether a provider runs: the version of onnxruntime, the sizes of its
 * native files (a build for JetPack has the same version as the package from npm), and the software of an NVIDIA GPU.
 */
export function identifyRuntime(software: GpuSoftware | null = readGpuSoftware()): string {
  const { version, directory } = findRuntime();
  const files = readNames(directory).map((file) => `${file}:${statSync(join(directory, file)).size}`);
  return [version, ...files, ...(software === null ? [] : [JSON.stringify(software)])].join(' ');
}

function readNames(directory: string): readonly string[] {
  try {
    return readdirSync(directory).sort();
  } catch {
    return [];
  }
}
