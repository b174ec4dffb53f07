import { isAbsolute, relative, resolve } from 'node:path';
import { AgentError } from '../../base/errors.ts';
import { formatSize } from '../format.ts';
import { EXIT, toJson, type Terminal } from '../terminal.ts';
import { printFaults } from './inspect.ts';

export interface PackOptions {
  readonly out?: string;
  readonly json?: boolean;
}

/** `model pack`: packs a bundle without faults. Otherwise prints the faults and exits with 1. */
export async function packModel(path: string, options: PackOptions, terminal: Terminal): Promise<number> {
  const { signal, cwd } = terminal;
  const dir = resolve(cwd, path);
  const { inspectBundle } = await import('../../model/bundle/bundle.ts');
  const { manifest, digest, faults } = await inspectBundle(dir, { signal });
  // The devices may meet requirements that this machine does not meet.
  const bundleFaults = faults.filter(({ code }) => code !== 'model_requires');
  if (manifest === null || digest === null || bundleFaults.length > 0) {
    if (options.json === true) terminal.out(toJson({ ok: false, faults: bundleFaults }));
    else printFaults(bundleFaults, terminal);
    return EXIT.failed;
  }
  const { name, version } = manifest;
  const file = resolve(cwd, options.out ?? `${name}-${version}.tar`);
  const fromBundle = relative(dir, file);
  if (fromBundle !== '..' && !fromBundle.startsWith('../') && !isAbsolute(fromBundle))
    throw new AgentError(
      'usage',
      'the archive would be inside of the bundle; choose another path with --out',
    );
  const { packBundle } = await import('../../model/archive/pack.ts');
  const { sizeBytes, sha256 } = await packBundle(dir, file, signal);
  if (options.json === true) {
    const packed = { file, size_bytes: sizeBytes, sha256: `sha256:${sha256}` };
    terminal.out(toJson({ ok: true, name, version, digest, ...packed }));
  } else {
    terminal.out(`${file}  ${formatSize(sizeBytes)}\n${name} ${version}  ${digest}`);
  }
  return EXIT.ok;
}
