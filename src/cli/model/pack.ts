import { isAbsolute, relative, resolve } from 'node:path';
import { AgentError } from '../../base/errors.ts';
import { tellFaults } from './inspect.ts';
import { sizePhrase } from './source.ts';
import { EXIT, jsonText, type Terminal } from '../terminal.ts';

export interface PackOptions {
  readonly out?: string;
  readonly json?: boolean;
}

/** `model pack`: one archive of a bundle that has no fault; else its faults and exit code 1. */
export async function modelPack(path: string, options: PackOptions, terminal: Terminal): Promise<number> {
  const { signal, cwd } = terminal;
  const dir = resolve(cwd, path);
  const { inspectBundle } = await import('../../model/bundle/bundle.ts');
  const { manifest, digest, faults } = await inspectBundle(dir, { signal });
  // What this machine lacks, the devices may have.
  const own = faults.filter(({ code }) => code !== 'model_requires');
  if (manifest === null || digest === null || own.length > 0) {
    if (options.json === true) terminal.out(jsonText({ ok: false, faults: own }));
    else tellFaults(own, terminal);
    return EXIT.failed;
  }
  const { name, version } = manifest;
  const file = resolve(cwd, options.out ?? `${name}-${version}.tar`);
  const inside = relative(dir, file);
  if (inside !== '..' && !inside.startsWith('../') && !isAbsolute(inside))
    throw new AgentError(
      'usage',
      'the archive would lie in the bundle itself; name another place with --out',
    );
  const { packBundle } = await import('../../model/archive/pack.ts');
  const { sizeBytes, sha256 } = await packBundle(dir, file, signal);
  if (options.json === true) {
    const packed = { file, size_bytes: sizeBytes, sha256: `sha256:${sha256}` };
    terminal.out(jsonText({ ok: true, name, version, digest, ...packed }));
  } else {
    terminal.out(`${file}  ${sizePhrase(sizeBytes)}\n${name} ${version}  ${digest}`);
  }
  return EXIT.ok;
}
