import { closeSync, openSync, readSync, readdirSync, rmSync } from 'node:fs';
import { basename, join } from 'node:path';
import { PLATFORMS, type Architecture } from './platform.ts';

/** Paths below node_modules that the agent does not need at run time: sources, build files, other platforms. */
function unneededPaths(arch: Architecture): readonly string[] {
  const { npm } = PLATFORMS[arch];
  return [
    '.bin',
    '.package-lock.json',
    'better-sqlite3/deps',
    'better-sqlite3/src',
    'better-sqlite3/binding.gyp',
    ...others('better-sqlite3/prebuilds', ['linux-x64.node', 'linux-arm64.node'], `linux-${npm}.node`),
    'koffi/cnoke.cjs',
    'koffi/doc',
    'koffi/lib',
    'koffi/vendor',
    `@koromix/koffi-linux-${npm}/musl_${npm}`,
    'onnxruntime-node/lib',
    'onnxruntime-node/script',
    'onnxruntime-node/bin/napi-v6/darwin',
    'onnxruntime-node/bin/napi-v6/win32',
    ...others('onnxruntime-node/bin/napi-v6/linux', ['x64', 'arm64'], npm),
    'sharp/install',
    'sharp/src',
    `@img/sharp-libvips-linux-${npm}/lib/glib-2.0`,
  ];
}

const others = (directory: string, names: readonly string[], kept: string): readonly string[] =>
  names.filter((name) => name !== kept).map((name) => `${directory}/${name}`);

/** Prebuilt binaries of better-sqlite3 for systems without glibc. */
const FOREIGN_PREBUILD = /^better-sqlite3\/prebuilds\/(?!linux-)/;
/** The web page of the API documentation loads these alone (src/http/routes/pages.ts). */
const SWAGGER_FILE =
  /^swagger-ui-dist\/(package\.json|LICENSE|NOTICE|swagger-ui-bundle\.js|swagger-ui\.css|favicon-32x32\.png)$/;
/** At the top of a package. */
const DEVELOPER_DIRECTORY =
  /(^|\/node_modules\/)(@[^/]+\/)?[^/]+\/(test|tests|__tests__|bench|benchmarks?|docs?|examples?|\.github)\//;
/** Source maps, sources in C, C++ and TypeScript, settings of tools, and documents. */
const DEVELOPER_FILE =
  /(\.(map|[cm]?ts|tsx|flow|tsbuildinfo|md|yml|c|cc|cpp|h|hh|hpp|inc|s|asm|gypi?)|(^|\/)\.[^/]+)$/i;
const LICENCE = /(^|\/)(licen[cs]e|notice|copying)[^/]*$/i;

/** Removes from a node_modules directory what the agent does not need at run time. */
export function pruneModules(modules: string, arch: Architecture): void {
  for (const path of unneededPaths(arch)) rmSync(join(modules, path), { recursive: true, force: true });
  for (const path of listFiles(modules)) {
    const isForDevelopers = DEVELOPER_FILE.test(path) || DEVELOPER_DIRECTORY.test(path);
    const isUnneeded =
      FOREIGN_PREBUILD.test(path) ||
      (isForDevelopers && !LICENCE.test(path)) ||
      (path.startsWith('swagger-ui-dist/') && !SWAGGER_FILE.test(path));
    if (isUnneeded) rmSync(join(modules, path));
  }
}

/** Paths of all files below a directory, sorted. Throws on links and other special files: no archive has them. */
export function listFiles(directory: string): readonly string[] {
  const files: string[] = [];
  for (const entry of readdirSync(directory, { withFileTypes: true, recursive: true })) {
    const path = join(entry.parentPath, entry.name).slice(directory.length + 1);
    if (entry.isFile()) files.push(path);
    else if (!entry.isDirectory()) throw new Error(`${path} is a link or a special file`);
  }
  return files.sort();
}

/** Native code for another platform, by the first bytes of each file; a new dependency may bring it. */
export function findForeignBinaries(directory: string, arch: Architecture): readonly string[] {
  return listFiles(directory).filter((path) => {
    const header = readHeader(join(directory, path));
    if (isElf(header)) return header.readUInt16LE(18) !== PLATFORMS[arch].elfMachine || /musl/.test(path);
    return isMachO(header) || (isPortableExecutable(header) && /\.(node|dll|exe)$/.test(basename(path)));
  });
}

/** The first 20 bytes; zeros after the end of a shorter file. */
function readHeader(file: string): Buffer {
  const header = Buffer.alloc(20);
  const descriptor = openSync(file, 'r');
  try {
    readSync(descriptor, header, 0, header.length, 0);
  } finally {
    closeSync(descriptor);
  }
  return header;
}

const isElf = (header: Buffer): boolean => header.readUInt32BE(0) === 0x7f454c46;
const isMachO = (header: Buffer): boolean =>
  [0xcffaedfe, 0xcafebabe, 0xcefaedfe].includes(header.readUInt32BE(0));
const isPortableExecutable = (header: Buffer): boolean => header.toString('latin1', 0, 2) === 'MZ';
