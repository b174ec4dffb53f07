import { describe, expect, it } from 'vitest';
import {
  GPU_RUNTIME_FILES,
  identifyRuntime,
  missingGpuFiles,
  readInterfaceVersions,
} from '../../../../src/vision/providers/runtime-files.ts';
import { makeFileTree } from '../../../fixtures/file-tree.ts';

const JETSON = { driver: '540.4.0', cuda: '12.6.11', cudnn: '9.3.0', tensorrt: '10.3.0', jetpack: '6.2+b77' };

describe('identifyRuntime', () => {
  it('names the version and the native files of the installed onnxruntime', () => {
    expect(identifyRuntime(null)).toMatch(/^\d+\.\d+\.\d+ .*onnxruntime_binding\.node:\d{5,}$/);
  });

  it.each(['driver', 'cuda', 'cudnn', 'tensorrt', 'jetpack'] as const)(
    'changes when the version of %s changes',
    (name) => {
      expect(identifyRuntime({ ...JETSON, [name]: '99' })).not.toBe(identifyRuntime(JETSON));
    },
  );
});

describe('missingGpuFiles', () => {
  it('names the three provider libraries that the package from npm lacks', () => {
    expect(missingGpuFiles()).toEqual([
      'libonnxruntime_providers_shared.so',
      'libonnxruntime_providers_cuda.so',
      'libonnxruntime_providers_tensorrt.so',
    ]);
  });

  it('is empty when all five files are there', () => {
    const { path, write } = makeFileTree();
    for (const name of GPU_RUNTIME_FILES) write(name, '');
    expect(missingGpuFiles(path)).toEqual([]);
  });
});

describe('readInterfaceVersions', () => {
  it('finds the same version in the binding and the library of the package from npm', () => {
    const { binding, library } = readInterfaceVersions();
    expect(binding).toMatch(/^\d+\.\d+\.\d+$/);
    expect(library).toBe(binding);
  });

  it('finds a library of another version, and a missing one', () => {
    const { path, write } = makeFileTree();
    write('onnxruntime_binding.node', '\0VERS_1.30.0\0');
    expect(readInterfaceVersions(path)).toEqual({ binding: '1.30.0', library: null });
    write('libonnxruntime.so.1', '\0OrtGetApiBase\0VERS_1.25.1\0');
    expect(readInterfaceVersions(path)).toEqual({ binding: '1.30.0', library: '1.25.1' });
  });
});
