import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { findRuntimeFaults, installRuntime } from '../../../../scripts/jetson/install-runtime.ts';
import { GPU_RUNTIME_FILES } from '../../../../src/vision/providers/runtime-files.ts';
import { makeFileTree } from '../../../fixtures/file-tree.ts';

const NPM = join(import.meta.dirname, '../../../../node_modules/onnxruntime-node');
const ARM64 = `\x7fELF\x02\x01\x01${'\0'.repeat(11)}\xb7\0`;
const X64 = `\x7fELF\x02\x01\x01${'\0'.repeat(11)}\x3e\0`;

/** A set of files for one machine and version, and a directory like node_modules with onnxruntime-node 1.30.0. */
function makeSet(header = ARM64, version = '1.30.0') {
  const built = makeFileTree();
  for (const name of GPU_RUNTIME_FILES) built.write(name, `${header}\0VERS_${version}\0`, 'latin1');
  const modules = makeFileTree();
  modules.write('onnxruntime-node/package.json', '{"version": "1.30.0"}');
  modules.write('onnxruntime-node/bin/napi-v6/linux/arm64/onnxruntime_binding.node', 'from npm');
  const target = join(modules.path, 'onnxruntime-node/bin/napi-v6/linux/arm64');
  return { directory: built.path, modules: modules.path, target };
}

describe('installRuntime', () => {
  it('replaces the files from npm with all five, and leaves no other file', () => {
    const { directory, modules, target } = makeSet();
    expect(installRuntime(directory, modules)).toEqual([]);
    expect(readdirSync(target).sort()).toEqual([...GPU_RUNTIME_FILES].sort());
    expect(readFileSync(join(target, 'onnxruntime_binding.node'), 'latin1')).toContain('VERS_1.30.0');
  });

  it.each([
    ['another machine', X64, '1.30.0', 'onnxruntime_binding.node is no program file for 64-bit ARM'],
    ['another version', ARM64, '1.25.1', 'libonnxruntime.so.1 is of version 1.25.1, needed is 1.30.0'],
  ])('changes nothing for a build of %s', (_what, header, version, fault) => {
    const { directory, modules, target } = makeSet(header, version);
    expect(installRuntime(directory, modules)).toContain(fault);
    expect(readdirSync(target)).toEqual(['onnxruntime_binding.node']);
    expect(readFileSync(join(target, 'onnxruntime_binding.node'), 'utf8')).toBe('from npm');
  });
});

describe('findRuntimeFaults', () => {
  it('accepts the two real files from npm for arm64, and names the three missing ones', () => {
    const directory = join(NPM, 'bin/napi-v6/linux/arm64');
    expect(existsSync(directory)).toBe(true);
    const { version } = JSON.parse(readFileSync(join(NPM, 'package.json'), 'utf8')) as { version: string };
    expect(findRuntimeFaults(directory, version)).toEqual([
      'libonnxruntime_providers_shared.so is missing',
      'libonnxruntime_providers_cuda.so is missing',
      'libonnxruntime_providers_tensorrt.so is missing',
    ]);
  });

  it('names the real files from npm for x64 as foreign', () => {
    const faults = findRuntimeFaults(join(NPM, 'bin/napi-v6/linux/x64'), '1.30.0');
    expect(faults).toContain('libonnxruntime.so.1 is no program file for 64-bit ARM');
  });
});
