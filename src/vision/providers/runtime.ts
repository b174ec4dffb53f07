import { readdirSync, statSync } from 'node:fs';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';

const require = createRequire(import.meta.url);

/**
 * Tells one installed onnxruntime from another without loading it: version, and the sizes of its native files, since
 * a build against JetPack carries the same version as the one from npm.
 */
export function runtimeIdentity(): string {
  const manifest = require.resolve('onnxruntime-node/package.json');
  const { version } = require(manifest) as { version: string };
  const folder = join(dirname(manifest), 'bin', 'napi-v6', process.platform, process.arch);
  try {
    const files = readdirSync(folder).sort();
    return [version, ...files.map((file) => `${file}:${statSync(join(folder, file)).size}`)].join(' ');
  } catch {
    return version;
  }
}
