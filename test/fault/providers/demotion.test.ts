import sharp from 'sharp';
import { afterEach, describe, expect, it, vi } from 'vitest';
import { systemClock } from '../../../src/base/clock.ts';
import { openBundle } from '../../../src/model/bundle/bundle.ts';
import { VisionProcess } from '../../../src/vision/vision-process.ts';
import { readHardware } from '../../../src/vision/hardware/probe.ts';
import { ProviderLadder } from '../../../src/vision/providers/select-provider.ts';
import type { FrameResult, VisionEvent } from '../../../src/vision/protocol.ts';
import { bundleDir } from '../../fixtures/bundles.ts';
import { softwareGpu } from '../../fixtures/software-gpu.ts';
import { silentLog } from '../../fixtures/store.ts';
import { useStore } from '../../fixtures/use-store.ts';

const never = new AbortController().signal;

const state = useStore({}, { clock: systemClock });
let vision: VisionProcess | null = null;
afterEach(async () => {
  await vision?.close();
  vision = null;
  vi.unstubAllEnvs();
});

/** Prefers WebGPU. The software driver of Chromium makes it a real second provider. */
async function ladder(): Promise<ProviderLadder> {
  return new ProviderLadder(
    {
      bundle: await openBundle(bundleDir('nan-when-red')),
      inference: { providers: ['webgpu', 'cpu'], threads: 1, timeoutS: 30, maxRssMb: 1024 },
      hardware: readHardware(),
    },
    { memory: state.store.keyValue, clock: systemClock, log: silentLog },
  );
}

const jpegOf = (background: string): Promise<Buffer> =>
  sharp({ create: { width: 64, height: 48, channels: 3, background } })
    .jpeg()
    .toBuffer();

describe('a provider that fails after its trial', () => {
  it.runIf(softwareGpu)(
    'is demoted, and not chosen again at the next start (needs the package chromium)',
    async () => {
      for (const [name, value] of Object.entries(softwareGpu ?? {})) vi.stubEnv(name, value);
      const events: VisionEvent[] = [];
      const process = new VisionProcess(
        {
          bundle: await openBundle(bundleDir('nan-when-red')),
          plan: null,
          timeoutS: 30,
          maxRssMb: 1024,
          queueMax: 4,
          exploreAfterS: 0,
        },
        {
          clock: systemClock,
          log: silentLog,
          ladder: await ladder(),
          onEvent: (event) => void events.push(event),
        },
      );
      vision = process;
      const analyze = async (background: string): Promise<FrameResult> =>
        process.analyze(await jpegOf(background), { roi: null, privacyMasks: [], ignoreGate: true });

      await process.start(never);
      expect(process.report?.provider).toBe('cpu');
      await vi.waitUntil(() => process.report?.provider === 'webgpu', { timeout: 60_000 });
      expect((await analyze('green')).heads?.waveHeight?.heightM).toBeGreaterThan(0);

      for (let failures = 0; failures < 3; failures += 1)
        await expect(analyze('red')).rejects.toMatchObject({ code: 'vision_output_invalid' });
      await vi.waitUntil(() => process.report?.provider === 'cpu', { timeout: 60_000 });
      expect(events).toContainEqual(
        expect.objectContaining({ type: 'provider_demoted', from: 'webgpu', to: 'cpu' }),
      );
      expect((await analyze('green')).heads?.waveHeight?.heightM).toBeGreaterThan(0);

      const restarted = await ladder();
      expect((await restarted.first(never)).provider).toBe('cpu');
      expect(await restarted.explore(never)).toBeNull();
      const attempt = restarted.report()?.attempts.find((one) => one.provider === 'webgpu');
      expect(attempt).toMatchObject({
        outcome: 'failed',
        reason: expect.stringMatching(/^demoted: /) as string,
      });
    },
  );

  it.runIf(softwareGpu)(
    'does not prevent the start if it has disappeared (needs the package chromium)',
    async () => {
      for (const [name, value] of Object.entries(softwareGpu ?? {})) vi.stubEnv(name, value);
      const before = await ladder();
      await before.first(never);
      expect((await before.explore(never))?.provider).toBe('webgpu');

      vi.stubEnv('VK_ICD_FILENAMES', '/dev/null');
      vi.stubEnv('VK_DRIVER_FILES', '/dev/null');
      const events: VisionEvent[] = [];
      vision = new VisionProcess(
        {
          bundle: await openBundle(bundleDir('nan-when-red')),
          plan: null,
          timeoutS: 30,
          maxRssMb: 1024,
          queueMax: 4,
        },
        {
          clock: systemClock,
          log: silentLog,
          ladder: await ladder(),
          onEvent: (event) => void events.push(event),
        },
      );
      await vision.start(never);
      expect(vision.report?.provider).toBe('cpu');
      expect(events[0]).toMatchObject({ type: 'provider_demoted', from: 'webgpu', to: 'cpu' });
    },
  );
});
