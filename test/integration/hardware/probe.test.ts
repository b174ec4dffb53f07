import { availableParallelism, arch } from 'node:os';
import { afterEach, describe, expect, it, vi } from 'vitest';
import { HARDWARE_KINDS } from '../../../src/vision/hardware/hardware.ts';
import { readHardware, probeHardware } from '../../../src/vision/hardware/probe.ts';
import { childPids } from '../../fixtures/children.ts';
import { makeFileTree } from '../../fixtures/file-tree.ts';

afterEach(() => {
  vi.unstubAllEnvs();
});

describe('probeHardware', () => {
  it('describes this machine and leaves no process', async () => {
    const hardware = await probeHardware(new AbortController().signal);
    expect(HARDWARE_KINDS).toContain(hardware.kind);
    expect(hardware.arch).toBe(arch());
    expect(hardware.cores).toBe(availableParallelism());
    expect(hardware.memoryMb).toBeGreaterThan(100);
    if (process.platform === 'linux') expect([4096, 16_384, 65_536]).toContain(hardware.pageSizeBytes);
    expect(hardware.cpu).toBeTruthy();
    expect(hardware.os).toBeTruthy();
    expect(childPids('hardware/inventory')).toEqual([]);
    expect(readHardware()).toMatchObject({ kind: hardware.kind, fingerprint: hardware.fingerprint });
  });

  it('continues without the inventory if its process fails', async () => {
    // The dynamic linker refuses an empty library.
    const libraries = makeFileTree();
    libraries.write('libm.so.6', '');
    vi.stubEnv('LD_LIBRARY_PATH', libraries.path);
    const hardware = await probeHardware(new AbortController().signal);
    expect(HARDWARE_KINDS).toContain(hardware.kind);
    expect(hardware.os).toBeNull();
  });

  it('stops with the signal', async () => {
    await expect(probeHardware(AbortSignal.abort())).rejects.toMatchObject({ name: 'AbortError' });
    await expect(probeHardware(AbortSignal.timeout(1))).rejects.toMatchObject({ name: 'TimeoutError' });
  });
});
