import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';

/**
 * Versions of the software of an NVIDIA GPU. A fact that no file shows is null. The version of Jetson Linux is part of
 * `Hardware.board`.
 */
export interface GpuSoftware {
  /** Kernel module, such as `540.4.0`. */
  readonly driver: string | null;
  readonly cuda: string | null;
  readonly cudnn: string | null;
  readonly tensorrt: string | null;
  /** Version of the package `nvidia-jetpack`, such as `6.2+b77`. */
  readonly jetpack: string | null;
}

/** Where NVIDIA's packages for Debian and Ubuntu, its archives and its containers put libraries. */
const LIBRARY_DIRECTORIES = [
  'usr/lib/aarch64-linux-gnu',
  'usr/lib/x86_64-linux-gnu',
  'usr/lib64',
  'usr/local/lib',
  'usr/local/cuda/lib64',
  'usr/local/tensorrt/lib',
  'opt/tensorrt/lib',
];

/**
 * Reads the versions from files; starts no program. Null if there is no sign of an NVIDIA GPU. Never throws. `root` and
 * `environment` differ from the machine's only in tests.
 */
export function readGpuSoftware(
  root = '/',
  environment: NodeJS.ProcessEnv = process.env,
): GpuSoftware | null {
  const text = (path: string): string | null => readText(join(root, path));
  const added = (environment['LD_LIBRARY_PATH'] ?? '').split(':').filter((path) => path.startsWith('/'));
  const libraries = [...LIBRARY_DIRECTORIES, ...added].flatMap((path) => readNames(join(root, path)));
  const found = {
    driver:
      /^NVRM version:.*?\s(\d+\.\d+(?:\.\d+)*)\s/m.exec(text('proc/driver/nvidia/version') ?? '')?.[1] ??
      null,
    cuda: cudaVersion(text('usr/local/cuda/version.json')) ?? libraryVersion(libraries, 'libcudart'),
    cudnn: libraryVersion(libraries, 'libcudnn'),
    tensorrt: libraryVersion(libraries, 'libnvinfer'),
  };
  const hasTegra = text('etc/nv_tegra_release') !== null;
  if (!hasTegra && Object.values(found).every((version) => version === null)) return null;
  return { ...found, jetpack: packageVersion(text('var/lib/dpkg/status'), 'nvidia-jetpack') };
}

function cudaVersion(json: string | null): string | null {
  try {
    const { cuda } = JSON.parse(json ?? '{}') as { cuda?: { version?: unknown } };
    return typeof cuda?.version === 'string' ? cuda.version : null;
  } catch {
    return null;
  }
}

/** The version at the end of a file name such as `libnvinfer.so.10.3.0`; several versions are joined. */
function libraryVersion(names: readonly string[], library: string): string | null {
  const prefix = `${library}.so.`;
  const versions = names
    .filter((name) => name.startsWith(prefix) && /^\d+(\.\d+){2,}$/.test(name.slice(prefix.length)))
    .map((name) => name.slice(prefix.length));
  return [...new Set(versions)].sort().join(' ') || null;
}

/** Version of an installed package. The paragraphs of /var/lib/dpkg/status are separated by empty lines. Source: deb-control(5). */
function packageVersion(status: string | null, name: string): string | null {
  const start = `\n${status ?? ''}`.indexOf(`\nPackage: ${name}\n`);
  if (start < 0 || status === null) return null;
  const [paragraph = ''] = status.slice(start).split('\n\n', 1);
  if (!/^Status: \S+ \S+ installed$/m.test(paragraph)) return null;
  return /^Version: (\S+)$/m.exec(paragraph)?.[1] ?? null;
}

function readText(path: string): string | null {
  try {
    return readFileSync(path, 'utf8');
  } catch {
    return null;
  }
}

function readNames(path: string): readonly string[] {
  try {
    return readdirSync(path);
  } catch {
    return [];
  }
}
