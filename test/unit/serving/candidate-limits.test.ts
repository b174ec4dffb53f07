import { describe, expect, it } from 'vitest';
import { MAX_START_TIME_S } from '../../../src/base/provider-limits.ts';
import { openBundle } from '../../../src/model/bundle/bundle.ts';
import { cpuStartTimeS, memoryForCandidate } from '../../../src/serving/candidate-limits.ts';
import { bundleDir } from '../../fixtures/bundles.ts';

describe('cpuStartTimeS', () => {
  it('is twice the time of a frame, between 10 s and the limit of a start', () => {
    expect([1, 10, 30, 600].map(cpuStartTimeS)).toEqual([10, 20, 60, MAX_START_TIME_S]);
  });
});

describe('memoryForCandidate', () => {
  it('leaves a reserve to the agent and the system', async () => {
    const bundle = await openBundle(bundleDir('heads'));
    expect(await memoryForCandidate(bundle, () => Promise.resolve(1000))).toBe(952);
  });

  it('refuses a model that needs a GPU where the libraries of the GPU do not fit', async () => {
    const bundle = await openBundle(bundleDir('heads'));
    const { manifest } = bundle;
    const onGpu = {
      ...bundle,
      manifest: { ...manifest, requires: { ...manifest.requires, providers: ['cuda'] } },
    };
    await expect(memoryForCandidate(onGpu, () => Promise.resolve(1000))).rejects.toMatchObject({
      code: 'model_out_of_memory',
    });
    expect(await memoryForCandidate(onGpu, () => Promise.resolve(4000))).toBe(3952);
  });
});
