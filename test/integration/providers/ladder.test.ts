import { afterEach, describe, expect, it, vi } from 'vitest';
import { systemClock } from '../../../src/base/clock.ts';
import type { Settings } from '../../../src/config/schema.ts';
import { openBundle } from '../../../src/model/bundle/bundle.ts';
import { probeHardware } from '../../../src/vision/hardware/probe.ts';
import { ProviderLadder } from '../../../src/vision/providers/select-provider.ts';
import { bundleDir, factoryBundleDir } from '../../fixtures/bundles.ts';
import { softwareGpu } from '../../fixtures/software-gpu.ts';
import { silentLog } from '../../fixtures/store.ts';
import { useStore } from '../../fixtures/use-store.ts';

const never = new AbortController().signal;
const AUTO: Settings['inference'] = { providers: 'auto', threads: 'auto', timeoutS: 30, maxRssMb: 1024 };

const state = useStore({}, { clock: systemClock });
afterEach(() => {
  vi.unstubAllEnvs();
});

async function ladder(
  directory: string,
  inference: Partial<Settings['inference']> = {},
): Promise<ProviderLadder> {
  return new ProviderLadder(
    {
      bundle: await openBundle(directory),
      inference: { ...AUTO, ...inference },
      hardware: await probeHardware(never),
    },
    { memory: state.store.keyValue, clock: systemClock, log: silentLog },
  );
}

describe('ProviderLadder with the real runtime', () => {
  it('runs the shipped model on the CPU, and uses its stored result after a restart', async () => {
    const subject = await ladder(factoryBundleDir, { providers: ['cpu'] });
    expect((await subject.first(never)).provider).toBe('cpu');
    await subject.explore(never);
    const report = subject.report();
    expect(report?.attempts.filter((one) => one.outcome === 'chosen')).toHaveLength(1);
    expect(report?.attempts.every((one) => one.provider === 'cpu' && (one.medianMs ?? 0) > 0)).toBe(true);

    state.reopen();
    const again = await ladder(factoryBundleDir, { providers: ['cpu'] });
    await again.first(never);
    expect(again.report()).toEqual({ ...report, remembered: true });
  });

  it.runIf(softwareGpu)(
    'tries every provider of the build, and finds WebGPU right but slower (needs the package chromium)',
    async () => {
      for (const [name, value] of Object.entries(softwareGpu ?? {})) vi.stubEnv(name, value);
      const subject = await ladder(bundleDir('depth'));
      expect((await subject.first(never)).provider).toBe('cpu');
      await subject.explore(never);
      const report = subject.report();
      expect(report?.provider).toBe('cpu');
      const webgpu = report?.attempts.find((one) => one.provider === 'webgpu');
      expect(webgpu?.outcome).toBe('slower');
      expect(webgpu?.medianMs).toBeGreaterThan(0);
      expect(webgpu?.reason).toMatch(/^[\d.]+ ms against [\d.]+ ms$/);
      expect(report?.attempts.find((one) => one.provider === 'cuda')).toMatchObject({
        outcome: 'failed',
        medianMs: null,
        reason: expect.stringContaining('Failed to load shared library') as string,
      });
      // A configured list overrides the speed.
      const forced = await ladder(bundleDir('depth'), { providers: ['webgpu'] });
      expect((await forced.first(never)).provider).toBe('webgpu');
    },
  );

  it('rejects a model with wrong results on every provider', async () => {
    const subject = await ladder(bundleDir('wrong-golden'));
    await expect(subject.first(never)).rejects.toMatchObject({ code: 'model_golden_mismatch' });
    expect(subject.report()).toBeNull();
  });
});
