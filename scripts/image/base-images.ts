import { existsSync, mkdirSync, mkdtempSync, renameSync, rmSync, symlinkSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { addNodeRuntime } from '../package/node-runtime.ts';
import { ARCHITECTURES, type Architecture } from '../package/platform.ts';
import { npm } from '../setup.mjs';
import { runTool, tryTool } from './run-tool.ts';

/** The base images of the Dockerfile. */
export const DEBIAN_IMAGE = 'docker.io/library/debian:trixie-slim';
export const NODE_IMAGE = 'docker.io/library/node:24-trixie-slim';
const SUITE = 'trixie';
const MIRROR = 'http://deb.debian.org/debian';
/** The official images of Node 24 contain a version 11. Only the build stages use it. */
const NPM_VERSION = '11.21.2';
const CA_FILE = '/etc/ssl/certs/ca-certificates.crt';
const BOOTSTRAP_TIMEOUT_MS = 30 * 60_000;

/** What the official slim images leave out. */
const PATHS = [
  'path-exclude=/usr/share/man/*',
  'path-exclude=/usr/share/locale/*',
  'path-exclude=/usr/share/doc/*',
  'path-include=/usr/share/doc/*/copyright',
];

/**
 * Makes images that stand in for the base images of the Dockerfile, under the same names, as manifests of the given
 * platforms: Debian from packages, Node from the npm registry. The images and their archives in `cache` are kept.
 */
export async function makeBaseImages(wanted: readonly Architecture[], cache: string): Promise<void> {
  mkdirSync(cache, { recursive: true });
  for (const name of [DEBIAN_IMAGE, NODE_IMAGE]) {
    // The manifest of the run before; an official image that was pulled stays, without this name.
    tryTool('buildah', ['manifest', 'rm', name]);
    tryTool('podman', ['untag', name, name]);
    runTool('buildah', ['manifest', 'create', name]);
  }
  for (const arch of ARCHITECTURES.filter((known) => wanted.includes(known))) {
    if (![DEBIAN_IMAGE, NODE_IMAGE].every((name) => hasImage(localName(name, arch))))
      await makeImages(arch, cache);
    for (const name of [DEBIAN_IMAGE, NODE_IMAGE])
      runTool('buildah', ['manifest', 'add', name, localName(name, arch)]);
  }
}

const localName = (name: string, arch: Architecture): string =>
  `localhost/swellsight-base-${name.replace(/^.*\//, '').replace(':', '-')}-${arch}`;

const hasImage = (name: string): boolean =>
  tryTool('buildah', ['inspect', '--type', 'image', name]).exitCode === 0;

async function makeImages(arch: Architecture, cache: string): Promise<void> {
  const archive = bootstrapDebian(arch, cache);
  const container = runTool('buildah', ['from', '--arch', arch, 'scratch']).trim();
  const commit = (name: string): void => {
    runTool('buildah', ['config', '--os', 'linux', '--arch', arch, '--cmd', 'bash', container]);
    runTool('buildah', ['commit', '--quiet', '--format', 'docker', container, localName(name, arch)]);
  };
  try {
    runTool('buildah', ['add', '--quiet', container, archive, '/']);
    commit(DEBIAN_IMAGE);
    await addNode(container, arch, cache);
    commit(NODE_IMAGE);
  } finally {
    runTool('buildah', ['rm', container]);
  }
}

function bootstrapDebian(arch: Architecture, cache: string): string {
  const archive = join(cache, `debian-${SUITE}-${arch}.tar`);
  if (existsSync(archive)) return archive;
  const unfinished = join(cache, `unfinished-${arch}.tar`);
  runTool(
    'mmdebstrap',
    [
      // With an emulator registered in the kernel, this machine runs the programs of both platforms.
      ...['--skip=check/qemu', '--variant=minbase', `--architectures=${arch}`, '--include=ca-certificates'],
      ...PATHS.map((option) => `--dpkgopt=${option}`),
      ...[SUITE, unfinished, MIRROR],
    ],
    BOOTSTRAP_TIMEOUT_MS,
  );
  renameSync(unfinished, archive);
  return archive;
}

/** Node and npm in the places of the official image; the certificates of this machine, for a registry behind a proxy. */
async function addNode(container: string, arch: Architecture, cache: string): Promise<void> {
  const work = mkdtempSync(join(tmpdir(), 'swellsight-node-'));
  try {
    const local = join(work, 'local');
    const modules = join(local, 'lib/node_modules');
    mkdirSync(modules, { recursive: true });
    await addNodeRuntime(arch, local, cache);
    npm(process.execPath, ['pack', '--pack-destination', work, `npm@${NPM_VERSION}`]);
    runTool('tar', ['--extract', '--file', join(work, `npm-${NPM_VERSION}.tgz`), '--directory', modules]);
    renameSync(join(modules, 'package'), join(modules, 'npm'));
    for (const name of ['npm', 'npx'])
      symlinkSync(`../lib/node_modules/npm/bin/${name}-cli.js`, join(local, 'bin', name));
    runTool('buildah', ['add', '--quiet', container, local, '/usr/local']);
    if (!existsSync(CA_FILE)) return;
    runTool('buildah', ['add', '--quiet', container, CA_FILE, CA_FILE]);
    for (const variable of ['NODE_EXTRA_CA_CERTS', 'npm_config_cafile'])
      runTool('buildah', ['config', '--env', `${variable}=${CA_FILE}`, container]);
  } finally {
    rmSync(work, { recursive: true });
  }
}
