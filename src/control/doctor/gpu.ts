import { readGpuSoftware, type GpuSoftware } from '../../vision/hardware/gpu-software.ts';
import { missingGpuFiles, readInterfaceVersions } from '../../vision/providers/runtime-files.ts';
import { failFinding, okFinding, warnFinding, type Finding } from './finding.ts';

const NAMES: Readonly<Record<keyof GpuSoftware, string>> = {
  driver: 'driver',
  cuda: 'CUDA',
  cudnn: 'cuDNN',
  tensorrt: 'TensorRT',
  jetpack: 'JetPack',
};

/** What an NVIDIA GPU needs; nothing on other machines. `directory` is that of onnxruntime's native files. */
export function* checkGpu(
  software: GpuSoftware | null = readGpuSoftware(),
  directory?: string,
): Generator<Finding> {
  if (software === null) return;
  const versions = Object.entries(NAMES).map(
    ([key, name]) => `${name} ${software[key as keyof GpuSoftware] ?? 'not found'}`,
  );
  yield okFinding('gpu', versions.join(', '));
  const missing = missingGpuFiles(directory);
  if (missing.length > 0)
    yield warnFinding(
      'gpu',
      `onnxruntime lacks ${missing.join(', ')}: the agent uses the CPU`,
      'install the files as docs/providers.md says, or ignore this',
    );
  const { binding, library } = readInterfaceVersions(directory);
  if (binding !== library)
    yield failFinding(
      'gpu',
      `onnxruntime_binding.node needs onnxruntime ${binding ?? 'unknown'}, libonnxruntime.so.1 is ${library ?? 'unknown'}`,
      'use files of one build',
    );
}
