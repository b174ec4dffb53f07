import { beforeEach, describe, expect, it } from 'vitest';
import { readGpuSoftware } from '../../../../src/vision/hardware/gpu-software.ts';
import { makeFileTree } from '../../../fixtures/file-tree.ts';

const DRIVER = `NVRM version: NVIDIA UNIX Open Kernel Module for aarch64  540.4.0  Release Build  (buildbrain@mobile-u64-6336-d8000)  Wed Jan  8 01:28:34 UTC 2025
GCC version:  collect2: error: ld returned 1 exit status
`;
const STATUS = `Package: nvidia-jetpack-runtime
Status: install ok installed
Version: 9.9

Package: nvidia-jetpack
Status: install ok installed
Priority: standard
Version: 6.2+b77
Description: NVIDIA Jetpack Meta Package

Package: zlib1g
Status: install ok installed
Version: 1:1.2.11.dfsg-2ubuntu9.2
`;

let tree: ReturnType<typeof makeFileTree>;
beforeEach(() => {
  tree = makeFileTree();
});

function write(files: Readonly<Record<string, string>>): void {
  for (const [path, text] of Object.entries(files)) tree.write(path, text);
}
const read = (environment: NodeJS.ProcessEnv = {}) => readGpuSoftware(tree.path, environment);

describe('readGpuSoftware', () => {
  it('reads all versions of JetPack 6 from files', () => {
    write({
      'proc/driver/nvidia/version': DRIVER,
      'usr/local/cuda/version.json': '{"cuda": {"name": "CUDA SDK", "version": "12.6.11"}}',
      'usr/lib/aarch64-linux-gnu/libnvinfer.so.10.3.0': '',
      'usr/lib/aarch64-linux-gnu/libnvinfer.so.10': '',
      'usr/lib/aarch64-linux-gnu/libnvinfer_plugin.so.10.3.0': '',
      'usr/lib/aarch64-linux-gnu/libcudnn.so.9.3.0': '',
      'var/lib/dpkg/status': STATUS,
    });
    expect(read()).toEqual({
      driver: '540.4.0',
      cuda: '12.6.11',
      cudnn: '9.3.0',
      tensorrt: '10.3.0',
      jetpack: '6.2+b77',
    });
  });

  it('reads the driver of a PC', () => {
    const text = 'NVRM version: NVIDIA UNIX x86_64 Kernel Module  550.54.15  Tue Mar  5 22:23:56 UTC 2024\n';
    write({ 'proc/driver/nvidia/version': text });
    expect(read()).toEqual({ driver: '550.54.15', cuda: null, cudnn: null, tensorrt: null, jetpack: null });
  });

  it('finds libraries of a container on LD_LIBRARY_PATH, and CUDA without version.json', () => {
    write({ 'opt/cuda/libcudart.so.12.6.68': '', 'opt/trt/libnvinfer.so.10.7.0': '' });
    expect(read({ LD_LIBRARY_PATH: 'relative:/opt/cuda:/opt/trt' })).toMatchObject({
      cuda: '12.6.68',
      tensorrt: '10.7.0',
    });
  });

  it('names both versions where two are installed', () => {
    write({ 'usr/lib64/libnvinfer.so.10.3.0': '', 'usr/local/lib/libnvinfer.so.8.6.2': '' });
    expect(read()?.tensorrt).toBe('10.3.0 8.6.2');
  });

  it('ignores a package that was removed', () => {
    write({
      'etc/nv_tegra_release': '# R36 (release), REVISION: 4.3',
      'var/lib/dpkg/status': STATUS.replaceAll('install ok installed', 'deinstall ok config-files'),
    });
    expect(read()).toMatchObject({ driver: null, jetpack: null });
  });

  it('is null without any sign of NVIDIA', () => {
    write({ 'var/lib/dpkg/status': STATUS, 'usr/lib/x86_64-linux-gnu/libc.so.6': '' });
    expect(read()).toBeNull();
  });

  it('ignores a damaged version.json', () => {
    write({ 'usr/local/cuda/version.json': '{"cuda": [', 'etc/nv_tegra_release': '# R36' });
    expect(read()?.cuda).toBeNull();
  });
});
