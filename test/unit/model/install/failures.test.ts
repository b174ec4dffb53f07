import { describe, expect, it } from 'vitest';
import { AgentError } from '../../../../src/base/errors.ts';
import { ALPHA, FACTORY, OTHER_ID, digestOf, failAt, requestOf } from '../../../fixtures/install-doubles.ts';
import { InstallHarness } from '../../../fixtures/install.ts';

describe('isBundleFault', () => {
  const mismatch = new AgentError('model_golden_mismatch', '1.5 is not 1');

  it('refuses a failed bundle by digest and by name, but not other bytes of that name', async () => {
    const harness = new InstallHarness({ hook: failAt('prove', mismatch) }).start();
    await expect(harness.request('alpha').serves).rejects.toMatchObject({
      code: 'model_golden_mismatch',
    });
    await harness.settle();
    expect(harness.install).toMatchObject({
      phase: 'failed',
      reason: { code: 'model_golden_mismatch', message: '1.5 is not 1' },
    });
    expect(harness.disk.slots.refused).toMatchObject([
      { digest: ALPHA.digest, code: 'model_golden_mismatch' },
    ]);
    for (const digest of [ALPHA.digest, null])
      expect(() => harness.request('alpha', { updateId: OTHER_ID, digest })).toThrow(
        expect.objectContaining({ code: 'model_refused_before' }),
      );
    // Other bytes under the same name are another bundle.
    harness.hook = () => undefined;
    const repaired = { ...ALPHA, digest: digestOf('repaired') };
    harness.offered.set('alpha', repaired);
    const { serves } = harness.request('alpha', { updateId: OTHER_ID, digest: repaired.digest });
    await harness.settle();
    await harness.frames(2);
    await expect(serves).resolves.toMatchObject({ phase: 'probation' });
    await harness.end();
  });

  it('installs a failed bundle with clearFailed', async () => {
    const harness = new InstallHarness({ hook: failAt('prove', mismatch) }).start();
    await harness.request('alpha').serves.catch(() => undefined);
    await harness.settle();
    harness.hook = () => undefined;
    const request = requestOf('alpha', { updateId: OTHER_ID, digest: null });
    const { serves } = harness.installer.request(request, { clearFailed: true });
    expect(harness.disk.slots.refused).toEqual([]);
    await harness.settle();
    await harness.frames(2);
    await expect(serves).resolves.toMatchObject({ phase: 'probation' });
    await harness.end();
  });

  it('recognizes a failed bundle after the verification when the request has no digest', async () => {
    const harness = new InstallHarness({ hook: failAt('prove', mismatch) }).start();
    await harness.request('alpha').serves.catch(() => undefined);
    await harness.settle();
    // The same bytes under another version.
    const renamed = { ...ALPHA, version: '2.0.0' };
    harness.offered.set('alpha', renamed);
    const { serves } = harness.request('alpha', { updateId: OTHER_ID, version: '2.0.0', digest: null });
    await expect(serves).rejects.toMatchObject({ code: 'model_refused_before' });
    expect(harness.disk.slots.refused).toHaveLength(1);
    await harness.end();
  });

  it.each([
    ['model_transfer_failed', 'download', false],
    ['model_space', 'download', false],
    ['model_trust_expired', 'verify', false],
    ['model_trust_signature', 'verify', false],
    ['model_requires', 'verify', false],
    ['model_manifest_invalid', 'verify', true],
    ['model_bundle_refused', 'verify', true],
    ['model_golden_mismatch', 'prove', true],
    ['model_out_of_memory', 'prove', true],
    ['vision_crashed', 'prove', true],
    ['vision_timeout', 'prove', true],
    ['vision_output_invalid', 'prove', true],
    ['provider_unavailable', 'prove', false],
    ['vision_crashed', 'analyze', true],
    ['vision_output_invalid', 'forecast', true],
    ['vision_crashed', 'adopt', true],
  ] as const)('after %s in %s refuses the bundle: %s', async (code, operation, isRefused) => {
    const harness = new InstallHarness({
      hook: failAt(operation, new AgentError(code, 'injected failure')),
    }).start();
    const { serves } = harness.request('alpha');
    await harness.settle();
    harness.hook = failAt(operation, new AgentError(code, 'injected failure'));
    await harness.frames(2);
    await expect(serves).rejects.toBeInstanceOf(AgentError);
    await harness.settle();
    expect(harness.disk.slots.refused.map(({ digest }) => digest)).toEqual(isRefused ? [ALPHA.digest] : []);
    expect(harness.disk.slots).toMatchObject({ active: null, previous: null, candidate: null });
    expect(harness.host.bundle?.digest).toBe(FACTORY.digest);
    expect(harness.host.openCandidates.size + harness.host.listenerCount).toBe(0);
    expect(harness.disk.parts.size).toBe(0);
    await harness.end();
  });

  it('refuses a bundle whose test exceeds its deadline', async () => {
    const harness = new InstallHarness({ deadlines: { testMs: 5000 } });
    harness.hook = async (operation) => {
      // The host observes the signal only after this delay.
      if (operation === 'prove') await harness.clock.sleep(6000).then(() => undefined);
    };
    harness.start();
    const { serves } = harness.request('alpha');
    await harness.settle();
    await harness.clock.pass(6000);
    await expect(serves).rejects.toMatchObject({ code: 'model_candidate_failed' });
    await harness.settle();
    expect(harness.disk.slots.refused).toHaveLength(1);
    await harness.end();
  });
});
