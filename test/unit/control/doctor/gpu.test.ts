import { describe, expect, it } from 'vitest';
import { checkGpu } from '../../../../src/control/doctor/gpu.ts';
import { GPU_RUNTIME_FILES } from '../../../../src/vision/providers/runtime-files.ts';
import { makeFileTree } from '../../../fixtures/file-tree.ts';

const JETSON = { driver: '540.4.0', cuda: '12.6.11', cudnn: '9.3.0', tensorrt: null, jetpack: '6.2+b77' };

/** The native files of onnxruntime, with the given versions of the C interface. */
function makeRuntime(binding: string, library: string): string {
  const { path, write } = makeFileTree();
  for (const name of GPU_RUNTIME_FILES) write(name, '');
  write('onnxruntime_binding.node', `\0VERS_${binding}\0`);
  write('libonnxruntime.so.1', `\0VERS_${library}\0`);
  return path;
}

describe('checkGpu', () => {
  it('reports nothing on a machine without an NVIDIA GPU', () => {
    expect([...checkGpu(null)]).toEqual([]);
  });

  it('lists the versions', () => {
    expect([...checkGpu(JETSON, makeRuntime('1.30.0', '1.30.0'))]).toEqual([
      {
        check: 'gpu',
        state: 'ok',
        detail: 'driver 540.4.0, CUDA 12.6.11, cuDNN 9.3.0, TensorRT not found, JetPack 6.2+b77',
        mend: null,
      },
    ]);
  });

  it('warns of missing provider libraries: the package from npm has none', () => {
    expect([...checkGpu(JETSON)].slice(1)).toMatchObject([
      { state: 'warn', detail: expect.stringContaining('libonnxruntime_providers_cuda.so') as string },
    ]);
  });

  it('fails for files of two builds, which the dynamic loader refuses', () => {
    expect([...checkGpu(JETSON, makeRuntime('1.30.0', '1.25.1'))].slice(1)).toMatchObject([
      {
        state: 'fail',
        detail: 'onnxruntime_binding.node needs onnxruntime 1.30.0, libonnxruntime.so.1 is 1.25.1',
      },
    ]);
  });
});
