import { existsSync, mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { ContainerOptions } from './container.ts';
import { runTool } from './run-tool.ts';

/** Recorded frames. */
export const FRAMES = join(import.meta.dirname, '..', '..', 'test/fixtures/sea');
const PRELOAD = join(import.meta.dirname, 'emulated-children.mjs');

const REGISTRATIONS = '/proc/sys/fs/binfmt_misc';
const EMULATOR = 'qemu-aarch64';

/** /proc/cpuinfo of a Raspberry Pi 4. */
export const RASPBERRY_PI_4_CPUINFO = [0, 1, 2, 3]
  .map(
    (processor) =>
      `processor\t: ${processor}\nBogoMIPS\t: 108.00\nFeatures\t: fp asimd evtstrm crc32 cpuid\n` +
      'CPU implementer\t: 0x41\nCPU architecture: 8\nCPU variant\t: 0x0\nCPU part\t: 0xd08\nCPU revision\t: 3\n',
  )
  .join('\n');

/** Registers the emulator of arm64 programs in the kernel, so that such programs start like those of this machine. */
export function emulate(): void {
  if (!existsSync(`${REGISTRATIONS}/register`))
    runTool('mount', ['-t', 'binfmt_misc', 'binfmt_misc', REGISTRATIONS]);
  if (!existsSync(`${REGISTRATIONS}/${EMULATOR}`)) runTool('update-binfmts', ['--enable', EMULATOR]);
}

/**
 * What an emulated container needs. onnxruntime reads the kind of processor from /proc/cpuinfo, and fails with that of
 * another architecture. The processor is slow, and the emulator needs memory: one thread, recorded frames, one each half
 * minute, and higher limits.
 */
export function emulationOptions(cache: string): Required<Pick<ContainerOptions, 'mounts' | 'environment'>> {
  mkdirSync(cache, { recursive: true });
  const file = join(cache, 'cpuinfo');
  writeFileSync(file, RASPBERRY_PI_4_CPUINFO);
  const camera = {
    ...{ id: 'sea', kind: 'directory', path: '/sea', replay: 'loop' },
    ...{ schedule: { everyS: 30 }, burst: { frames: 1 }, timeoutS: 25 },
  };
  return {
    mounts: { [file]: '/proc/cpuinfo', [FRAMES]: '/sea', [PRELOAD]: '/emulated-children.mjs' },
    environment: {
      QEMU_CPU: 'cortex-a72',
      NODE_OPTIONS: '--import=/emulated-children.mjs',
      SWELLSIGHT_CAMERAS: JSON.stringify([camera]),
      SWELLSIGHT_INFERENCE_TIMEOUT_S: '120',
      SWELLSIGHT_INFERENCE_MAX_RSS_MB: '800',
      SWELLSIGHT_INFERENCE_THREADS: '1',
    },
  };
}
