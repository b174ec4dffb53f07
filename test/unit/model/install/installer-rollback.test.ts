import { describe, expect, it } from 'vitest';
import { AgentError } from '../../../../src/base/errors.ts';
import { ALPHA, FACTORY, failAt } from '../../../fixtures/install-doubles.ts';
import { InstallHarness } from '../../../fixtures/install.ts';

describe('Installer.abort', () => {
  it('ends an install in each phase before the swap, without refusing the bundle', async () => {
    for (const operation of ['download', 'verify', 'prove', 'analyze'] as const) {
      const harness = new InstallHarness().start();
      let ended: Promise<void> = Promise.resolve();
      const { serves } = harness.request('alpha');
      harness.hook = (where, moment) => {
        if (where !== operation || moment !== 'before') return;
        harness.hook = () => undefined;
        ended = harness.installer.abort();
      };
      await harness.settle();
      await harness.frames(2);
      await ended;
      await expect(serves).rejects.toMatchObject({ code: 'model_install_aborted' });
      expect(harness.install).toMatchObject({ phase: 'failed', reason: { code: 'model_install_aborted' } });
      expect(harness.disk.slots).toMatchObject({ active: null, candidate: null, refused: [] });
      expect(harness.events.at(-1)).toMatchObject({ type: 'model_install_failed', severity: 'info' });
      expect(harness.host.openCandidates.size + harness.host.listenerCount).toBe(0);
      await harness.end();
    }
  });

  it('restores the former model on probation', async () => {
    const harness = new InstallHarness().start();
    await harness.installAndCommit('alpha');
    await harness.installToProbation('beta');
    await harness.installer.abort();
    expect(harness.install).toMatchObject({
      phase: 'rolled_back',
      reason: { code: 'model_install_aborted' },
    });
    expect(harness.host.bundle?.digest).toBe(ALPHA.digest);
    expect(harness.disk.slots).toMatchObject({ active: ALPHA, previous: FACTORY, refused: [] });
    await harness.end();
  });

  it('rejects when there is no current install', async () => {
    const harness = new InstallHarness().start();
    await expect(harness.installer.abort()).rejects.toMatchObject({ code: 'model_install_none' });
    await harness.installAndCommit('alpha');
    await expect(harness.installer.abort()).rejects.toMatchObject({ code: 'model_install_none' });
    await harness.end();
  });

  it('rejects when the install is committed first', async () => {
    const harness = new InstallHarness().start();
    await harness.installToProbation('alpha');
    let lateAbort: Promise<void> = Promise.resolve();
    harness.hook = (operation, moment, subject) => {
      if (operation === 'update' && moment === 'before' && subject === 'committed')
        (lateAbort = harness.installer.abort()).catch(() => undefined);
    };
    await harness.passProbation();
    await expect(lateAbort).rejects.toMatchObject({ code: 'model_install_none' });
    expect(harness.host.bundle?.digest).toBe(ALPHA.digest);
    await harness.end();
  });
});

describe('Installer.rollback', () => {
  const signal = new AbortController().signal;

  it('returns to the previous model, then to the factory model, and never to one that it left', async () => {
    const harness = new InstallHarness().start();
    await harness.installAndCommit('alpha');
    await harness.installAndCommit('beta');
    await expect(harness.installer.rollback(signal)).resolves.toMatchObject({ name: 'alpha' });
    expect(harness.disk.slots).toMatchObject({ active: ALPHA, previous: null });
    await expect(harness.installer.rollback(signal)).resolves.toEqual({
      name: 'factory',
      version: '1.0.0',
      digest: FACTORY.digest,
    });
    expect(harness.disk.slots).toMatchObject({ active: null, previous: null });
    await expect(harness.installer.rollback(signal)).rejects.toMatchObject({ code: 'model_no_previous' });
    expect(harness.host.bundle?.digest).toBe(FACTORY.digest);
    expect(harness.eventTypes.filter((type) => type === 'model_rollback')).toHaveLength(2);
    await harness.end();
  });

  it('joins a second call', async () => {
    const harness = new InstallHarness().start();
    await harness.installAndCommit('alpha');
    const both = [harness.installer.rollback(signal), harness.installer.rollback(signal)];
    const [first, second] = await Promise.all(both);
    expect(first).toEqual(second);
    expect(harness.host.bundle?.digest).toBe(FACTORY.digest);
    await harness.end();
  });

  it('rejects when there is no previous model', async () => {
    const harness = new InstallHarness().start();
    await expect(harness.installer.rollback(signal)).rejects.toMatchObject({ code: 'model_no_previous' });
    await harness.end();
  });

  it('aborts the current install first; on probation this is the rollback', async () => {
    const harness = new InstallHarness().start();
    await harness.installAndCommit('alpha');
    await harness.installToProbation('beta');
    await expect(harness.installer.rollback(signal)).resolves.toMatchObject({ name: 'alpha' });
    expect(harness.disk.slots).toMatchObject({ active: ALPHA, previous: FACTORY });
    harness.request('gamma');
    await harness.settle();
    expect(harness.install?.phase).toBe('shadow');
    await expect(harness.installer.rollback(signal)).resolves.toMatchObject({ name: 'factory' });
    expect(harness.install).toMatchObject({ phase: 'failed', reason: { code: 'model_install_aborted' } });
    await harness.end();
  });

  it('serves the factory model when the previous one fails its test', async () => {
    const harness = new InstallHarness().start();
    await harness.installAndCommit('alpha');
    await harness.installAndCommit('beta');
    harness.hook = (operation, moment, subject) => {
      if (operation === 'prove' && moment === 'before' && subject === ALPHA.digest)
        throw new AgentError('model_golden_mismatch', 'damaged');
    };
    await expect(harness.installer.rollback(signal)).resolves.toMatchObject({ name: 'factory' });
    expect(harness.disk.slots).toMatchObject({ active: null, previous: null });
    await harness.end();
  });

  it('changes nothing when the slots cannot be stored or the model does not take over', async () => {
    const harness = new InstallHarness().start();
    await harness.installAndCommit('alpha');
    harness.hook = failAt('update', new AgentError('model_space', 'full'));
    await expect(harness.installer.rollback(signal)).rejects.toMatchObject({ code: 'model_space' });
    harness.hook = failAt('adopt', new AgentError('vision_crashed', 'gone'));
    await expect(harness.installer.rollback(signal)).rejects.toMatchObject({ code: 'vision_crashed' });
    expect(harness.disk.slots).toMatchObject({ active: ALPHA, previous: FACTORY });
    expect(harness.host.bundle?.digest).toBe(ALPHA.digest);
    expect(harness.host.openCandidates.size).toBe(0);
    await harness.end();
  });
});
