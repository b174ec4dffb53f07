import { spawnSync } from 'node:child_process';
import {
  chmodSync,
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  renameSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { npm } from '../setup.mjs';
import { packDirectory, sha256Of } from './archive.ts';
import { addNodeRuntime, nodePackageOf } from './node-runtime.ts';
import { PLATFORMS, type Architecture } from './platform.ts';
import { findForeignBinaries, listFiles, pruneModules } from './prune.ts';
import { describeRelease, type Release } from './release.ts';
import { createSbom } from './sbom.ts';
import { copySources, listSources, type Sources } from './sources.ts';

export interface PackageOptions {
  /** The git checkout, with its development dependencies installed. */
  readonly checkout: string;
  readonly arch: Architecture;
  /** Directory for the archive and the files beside it. */
  readonly out: string;
  /** Directory for downloads. */
  readonly cache: string;
  /** Compress less, for tests. Default: false. */
  readonly isFast?: boolean;
}

export interface Package {
  readonly archive: string;
  /** SHA-256 of the archive, hexadecimal. */
  readonly sha256: string;
  readonly release: Release;
}

/** Parts of the checkout that go into the archive as they are. */
const PARTS = ['bin', 'config', 'models', 'systemd', 'package.json', 'LICENSE', 'THIRD_PARTY_NOTICES.md'];

/**
 * Builds `swellsight-{version}-{arch}.tar.gz` in `out`, with `.sha256` and `.cdx.json` beside it. It contains a Node of
 * its own and all run-time parts; the same commit gives the same bytes.
 */
export async function buildPackage({
  checkout,
  arch,
  out,
  cache,
  isFast = false,
}: PackageOptions): Promise<Package> {
  mkdirSync(out, { recursive: true });
  mkdirSync(cache, { recursive: true });
  const sources = listSources(checkout);
  const work = mkdtempSync(join(tmpdir(), 'swellsight-package-'));
  try {
    const [source, stage] = [join(work, 'source'), join(work, 'stage')];
    copySources(checkout, sources.files, source);
    compile(source, join(checkout, 'node_modules'));
    fillStage(source, stage);
    installModules(source, arch);
    const sbom = createSbom({ directory: source, nodePackage: nodePackageOf(arch), ...sources });
    pruneModules(join(source, 'node_modules'), arch);
    renameSync(join(source, 'node_modules'), join(stage, 'node_modules'));
    await addNodeRuntime(arch, join(stage, 'node'), cache);
    writeFileSync(join(stage, 'sbom.cdx.json'), sbom);
    return await finish(stage, { arch, out, sources, sbom, isFast });
  } finally {
    rmSync(work, { recursive: true, force: true });
  }
}

/** Compiles a copy of the sources with the compiler and the types of the checkout. */
function compile(source: string, modules: string): void {
  symlinkSync(modules, join(source, 'node_modules'));
  const run = (...args: readonly string[]): void => {
    const { status } = spawnSync(process.execPath, args, { cwd: source, stdio: ['ignore', 2, 2] });
    if (status !== 0) throw new Error(`${args[0] ?? ''} exited with ${status ?? 'a signal'}`);
  };
  run('node_modules/typescript/bin/tsc', '-p', 'tsconfig.build.json', '--sourceMap', 'false');
  run('scripts/copy-assets.mjs');
  run('scripts/build-web.mjs');
  rmSync(join(source, 'node_modules'));
}

function fillStage(source: string, stage: string): void {
  mkdirSync(join(stage, 'scripts'), { recursive: true });
  for (const part of [...PARTS, 'dist', 'scripts/install.sh'])
    if (existsSync(join(source, part))) cpSync(join(source, part), join(stage, part), { recursive: true });
  for (const path of listFiles(join(stage, 'dist')))
    if (path.endsWith('.tsbuildinfo')) rmSync(join(stage, 'dist', path));
}

/** Installs the run-time dependencies of the other platform too: npm takes the names of the target instead of its own. */
function installModules(source: string, arch: Architecture): void {
  npm(
    process.execPath,
    [
      ...['ci', '--omit=dev', '--ignore-scripts', '--no-audit', '--no-fund', '--prefer-offline'],
      ...[`--cpu=${PLATFORMS[arch].npm}`, '--os=linux', '--libc=glibc'],
    ],
    { cwd: source },
  );
}

async function finish(
  stage: string,
  options: { arch: Architecture; out: string; sources: Sources; sbom: string; isFast: boolean },
): Promise<Package> {
  const { arch, out, sources, sbom, isFast } = options;
  const foreign = findForeignBinaries(stage, arch);
  if (foreign.length > 0)
    throw new Error(
      `native code for other platforms; add it to scripts/package/prune.ts: ${foreign.join(', ')}`,
    );
  const release = describeRelease(stage, arch, sources.commit);
  writeFileSync(join(stage, 'release.json'), `${JSON.stringify(release, null, 2)}\n`);
  // Whatever the umask.
  chmodSync(join(stage, 'release.json'), 0o644);
  const name = `swellsight-${release.version}-${arch}`;
  const archive = join(out, `${name}.tar.gz`);
  // A build that is interrupted leaves no archive that looks complete.
  const unfinished = `${archive}.part`;
  await packDirectory(stage, unfinished, sources.commitTimeS, { isFast });
  const sha256 = await sha256Of(unfinished);
  renameSync(unfinished, archive);
  writeFileSync(`${archive}.sha256`, `${sha256}  ${name}.tar.gz\n`);
  writeFileSync(join(out, `${name}.cdx.json`), sbom);
  return { archive, sha256, release };
}
