import { createHash } from 'node:crypto';
import { copyFileSync, chmodSync, existsSync, mkdirSync, readFileSync, renameSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { extract } from 'tar';
import { NODE_INTEGRITY, NODE_VERSION, npm } from '../setup.mjs';
import { PLATFORMS, type Architecture } from './platform.ts';

export interface NodePackage {
  readonly name: string;
  readonly version: string;
  /** npm's integrity, such as `sha512-…`. */
  readonly integrity: string;
}

export const nodePackageOf = (arch: Architecture): NodePackage => ({
  name: `node-linux-${PLATFORMS[arch].npm}`,
  version: NODE_VERSION,
  integrity: NODE_INTEGRITY[`linux-${PLATFORMS[arch].npm}`],
});

/**
 * Puts the Node runtime for `arch` into `target`: `bin/node` and its licence. The binary is the official one, with its
 * symbols: stripped, it would depend on the version of the stripping tool. Downloads are kept in `cache`.
 */
export async function addNodeRuntime(arch: Architecture, target: string, cache: string): Promise<void> {
  const archive = fetchPackage(nodePackageOf(arch), cache);
  const unpacked = join(target, 'unpacked');
  mkdirSync(unpacked, { recursive: true });
  const wanted = ['package/bin/node', 'package/LICENSE'];
  await extract({ file: archive, cwd: unpacked, strip: 1, filter: (path) => wanted.includes(path) });
  mkdirSync(join(target, 'bin'));
  renameSync(join(unpacked, 'bin/node'), join(target, 'bin/node'));
  copyFileSync(join(unpacked, 'LICENSE'), join(target, 'LICENSE'));
  chmodSync(join(target, 'bin/node'), 0o755);
  rmSync(unpacked, { recursive: true });
}

function fetchPackage({ name, version, integrity }: NodePackage, cache: string): string {
  const archive = join(cache, `${name}-${version}.tgz`);
  if (!existsSync(archive) || integrityOf(archive) !== integrity) {
    const downloads = join(cache, `download-${process.pid}`);
    mkdirSync(downloads, { recursive: true });
    npm(process.execPath, ['pack', '--pack-destination', downloads, `${name}@${version}`]);
    renameSync(join(downloads, `${name}-${version}.tgz`), archive);
    rmSync(downloads, { recursive: true });
  }
  const actual = integrityOf(archive);
  if (actual !== integrity)
    throw new Error(
      `${name}@${version} from the registry is not the expected file: ${actual}, expected ${integrity}`,
    );
  return archive;
}

const integrityOf = (file: string): string =>
  `sha512-${createHash('sha512').update(readFileSync(file)).digest('base64')}`;
