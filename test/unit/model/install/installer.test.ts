import { describe, expect, it } from 'vitest';
import { AgentError } from '../../../../src/base/errors.ts';
import {
  ALPHA,
  BETA,
  FACTORY,
  OTHER_ID,
  bundleOf,
  failAt,
  refOf,
} from '../../../fixtures/install-doubles.ts';
import { toModelState } from '../../../../src/model/state-view.ts';
import { InstallHarness } from '../../../fixtures/install.ts';

describe('Installer.request', () => {
  it('refuses the update id of another install', async () => {
    const harness = new InstallHarness().start();
    await harness.installToProbation('alpha', OTHER_ID);
    expect(() => harness.request('beta', { updateId: OTHER_ID })).toThrow(
      expect.objectContaining({ code: 'request_invalid' }),
    );
    await harness.end();
  });

  it('refuses a second install while one runs', async () => {
    const harness = new InstallHarness().start();
    harness.request('alpha');
    expect(() => harness.request('beta', { updateId: OTHER_ID })).toThrow(
      expect.objectContaining({ code: 'model_install_busy' }),
    );
    await harness.end();
  });

  it('joins a repeated request during the install and after its end', async () => {
    const harness = new InstallHarness().start();
    const first = harness.request('alpha');
    const second = harness.request('alpha');
    await harness.settle();
    await harness.frames(2);
    expect(await first.serves).toEqual(await second.serves);
    await expect(harness.request('alpha').serves).resolves.toMatchObject({
      phase: 'probation',
    });
    await harness.frames(1, new AgentError('vision_timeout', 'too slow'));
    await expect(harness.request('alpha').serves).rejects.toMatchObject({
      code: 'model_probation_failed',
    });
    expect(harness.eventTypes.filter((type) => type === 'model_install_started')).toHaveLength(1);
    await harness.end();
  });

  it('commits at once when the requested digest serves already', async () => {
    const harness = new InstallHarness().start();
    const { accepted, serves } = harness.request('factory', { digest: FACTORY.digest });
    expect(accepted.phase).toBe('committed');
    await expect(serves).resolves.toMatchObject({ phase: 'committed' });
    expect(harness.disk.slots).toMatchObject({ active: null, previous: null });
    await harness.end();
  });

  it('commits without a swap when the verified bundle serves already', async () => {
    const harness = new InstallHarness().start();
    harness.offered.set('factory', FACTORY);
    const { serves } = harness.request('factory', { digest: null });
    await expect(serves).resolves.toMatchObject({ phase: 'committed', candidate: { name: 'factory' } });
    expect(harness.host.adopted).toEqual([]);
    await harness.end();
  });

  it('remembers signatures whose expiry was not checked, until the same model is installed with a right clock', async () => {
    const harness = new InstallHarness().start();
    harness.offered.set('alpha', { ...ALPHA, expiryUnchecked: true });
    await harness.installAndCommit('alpha');
    const isChecked = () =>
      toModelState({
        active: ALPHA,
        factory: FACTORY,
        ready: true,
        trusted: true,
        pinned: false,
        slots: harness.disk.slots,
        progress: null,
      }).expiry_checked;
    expect(isChecked()).toBe(false);
    harness.offered.set('alpha', ALPHA);
    await harness.request('alpha', { digest: null, updateId: OTHER_ID }).serves;
    expect(isChecked()).toBe(true);
    expect(harness.disk.slots).toMatchObject({ active: ALPHA, previous: FACTORY });
    await harness.end();
  });

  it('installs the active model again after a start fell back to another one', async () => {
    const harness = new InstallHarness().start();
    await harness.installAndCommit('alpha');
    await harness.installAndCommit('beta');
    await harness.end();
    const next = harness.restarted().start();
    next.host.bundle = bundleOf(ALPHA);
    await next.installToProbation('beta');
    expect(next.host.bundle.digest).toBe(BETA.digest);
    expect(next.disk.slots).toMatchObject({ active: BETA, previous: ALPHA });
    await next.end();
  });

  it('refuses installs and rollbacks while a model is pinned', async () => {
    const harness = new InstallHarness({ pinned: true });
    const pinned = expect.objectContaining({ code: 'model_pinned' }) as Error;
    expect(() => harness.request('alpha')).toThrow(pinned);
    await expect(harness.installer.rollback(AbortSignal.timeout(5000))).rejects.toThrow(pinned);
  });

  it('throws and begins nothing when the request cannot be stored', () => {
    const harness = new InstallHarness({ hook: failAt('update', new AgentError('model_space', 'full')) });
    expect(() => harness.request('alpha')).toThrow(expect.objectContaining({ code: 'model_space' }));
    expect(harness.install).toBeNull();
  });

  it('rejects a bundle with another name than requested, without refusing it later', async () => {
    const harness = new InstallHarness().start();
    harness.offered.set('alpha', BETA);
    const { serves } = harness.request('alpha', { digest: null });
    await expect(serves).rejects.toMatchObject({ code: 'model_trust_mismatch' });
    expect(harness.disk.slots.refused).toEqual([]);
    await harness.end();
  });
});

describe('Installer.reload', () => {
  const signal = new AbortController().signal;

  it('starts the active model again, also on probation, but not during another phase', async () => {
    const harness = new InstallHarness().start();
    await expect(harness.installer.reload(signal)).resolves.toMatchObject({ name: 'factory' });
    harness.request('alpha');
    await expect(harness.installer.reload(signal)).rejects.toMatchObject({ code: 'model_install_busy' });
    await harness.settle();
    await harness.frames(2);
    await expect(harness.installer.reload(signal)).resolves.toMatchObject({ name: 'alpha' });
    expect(harness.host.adopted).toEqual([FACTORY.digest, ALPHA.digest, ALPHA.digest]);
    await harness.end();
  });

  it('starts the pinned model again', async () => {
    const harness = new InstallHarness({ pinned: true });
    const pinned = refOf('pinned');
    harness.disk.bundles.set(pinned.digest, bundleOf(pinned));
    harness.host.bundle = bundleOf(pinned);
    await expect(harness.installer.reload(signal)).resolves.toMatchObject({ name: 'pinned' });
    expect(harness.host.adopted).toEqual([pinned.digest]);
  });
});
