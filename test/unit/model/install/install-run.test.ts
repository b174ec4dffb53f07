import { describe, expect, it } from 'vitest';
import { AgentError } from '../../../../src/base/errors.ts';
import { ALPHA, BETA, FACTORY, failAt } from '../../../fixtures/install-doubles.ts';
import { InstallHarness, killedAt } from '../../../fixtures/install.ts';

describe('InstallRun', () => {
  it('stores and publishes each phase before its work begins', async () => {
    const harness = new InstallHarness().start();
    const calls: string[] = [];
    harness.hook = (operation, moment) => {
      if (moment === 'before' && ['download', 'verify', 'prove', 'analyze', 'adopt'].includes(operation))
        calls.push(
          `${operation} in ${harness.install?.phase ?? ''}, published ${harness.phases.at(-1) ?? ''}`,
        );
    };
    const { accepted, serves } = harness.request('alpha');
    expect(accepted.phase).toBe('requested');
    await harness.settle();
    await harness.frames(2);
    await expect(serves).resolves.toMatchObject({ phase: 'probation' });
    expect(harness.disk.slots).toMatchObject({ active: ALPHA, previous: FACTORY, candidate: null });
    await harness.passProbation();
    expect(harness.install?.phase).toBe('committed');
    expect(harness.phases).toEqual([
      'requested',
      'downloading',
      'verifying',
      'testing',
      'shadow',
      'probation',
      'committed',
    ]);
    expect(calls).toEqual([
      'download in downloading, published downloading',
      'verify in verifying, published verifying',
      'prove in testing, published testing',
      'analyze in shadow, published shadow',
      'analyze in shadow, published shadow',
      'adopt in probation, published probation',
    ]);
    expect(harness.eventTypes).toEqual(['model_install_started', 'model_install_committed']);
    expect(harness.host.openCandidates.size + harness.host.listenerCount).toBe(0);
    await harness.end();
  });

  it('restores both former slots when a model fails on probation', async () => {
    const harness = new InstallHarness().start();
    await harness.installAndCommit('alpha');
    await harness.installToProbation('beta');
    expect(harness.disk.slots).toMatchObject({ active: BETA, previous: ALPHA });
    await harness.frames(1, new AgentError('vision_crashed', 'gone'));
    expect(harness.disk.slots).toMatchObject({ active: ALPHA, previous: FACTORY });
    expect(harness.install).toMatchObject({
      phase: 'rolled_back',
      reason: { code: 'model_probation_failed' },
    });
    await harness.end();
  });
});

describe('InstallRun after a restart', () => {
  it.each([
    ['download', 'downloading', ['verifying', 'testing', 'shadow', 'probation']],
    ['verify', 'verifying', ['verifying', 'testing', 'shadow', 'probation']],
    ['prove', 'testing', ['testing', 'shadow', 'probation']],
    ['analyze', 'shadow', ['shadow', 'testing', 'shadow', 'probation']],
    ['forecast', 'shadow', ['shadow', 'testing', 'shadow', 'probation']],
    ['adopt', 'probation', []],
  ] as const)('killed in %s continues from phase %s', async (operation, phase, phases) => {
    const harness = await killedAt(operation);
    expect(harness.install?.phase).toBe(phase);
    harness.start();
    await harness.settle();
    await harness.frames(2);
    expect(harness.install?.phase).toBe('probation');
    expect(harness.phases).toEqual(phases);
    expect(harness.host.bundle?.digest).toBe(ALPHA.digest);
    await harness.passProbation();
    expect(harness.install?.phase).toBe('committed');
    await harness.end();
  });

  it('downloads again when the part file is lost during the verification', async () => {
    const harness = await killedAt('verify', 'after');
    harness.disk.parts.clear();
    harness.start();
    await harness.settle();
    await harness.frames(2);
    expect(harness.install?.phase).toBe('probation');
    await harness.end();
  });

  it('fails after five abnormal ends in one phase, without refusing the bundle', async () => {
    let harness = await killedAt('prove');
    for (let attempt = 0; attempt < 6; attempt += 1) {
      harness.hook = (operation) => (operation === 'prove' ? new Promise<never>(() => undefined) : undefined);
      harness.start();
      await harness.settle();
      if (harness.install?.phase === 'failed') break;
      harness = harness.restarted();
    }
    expect(harness.install).toMatchObject({ phase: 'failed', reason: { code: 'model_install_interrupted' } });
    expect(harness.disk.slots.refused).toEqual([]);
    await harness.end();
  });

  it('does not count requested stops as interruptions', async () => {
    let harness = new InstallHarness().start();
    harness.request('alpha');
    await harness.settle();
    for (let attempt = 0; attempt < 8; attempt += 1) {
      await harness.end();
      harness = harness.restarted().start();
      await harness.settle();
    }
    expect(harness.install?.phase).toBe('shadow');
    await harness.end();
  });

  it('fails when the bundle is missing on the disk', async () => {
    const harness = await killedAt('prove');
    harness.disk.bundles.delete(ALPHA.digest);
    harness.start();
    await harness.settle();
    expect(harness.install).toMatchObject({ phase: 'failed', reason: { code: 'model_not_found' } });
    expect(harness.disk.slots.refused).toEqual([]);
    await harness.end();
  });

  it('ends the install when a model is pinned, and rolls it back on probation', async () => {
    const harness = await killedAt('prove');
    const pinned = harness.restarted({ pinned: true }).start();
    await pinned.settle();
    expect(pinned.install).toMatchObject({ phase: 'failed', reason: { code: 'model_pinned' } });
    await pinned.end();

    const onProbation = await killedAt('adopt');
    const pinnedOnProbation = onProbation.restarted({ pinned: true }).start();
    await pinnedOnProbation.settle();
    expect(pinnedOnProbation.install).toMatchObject({
      phase: 'rolled_back',
      reason: { code: 'model_pinned' },
    });
    expect(pinnedOnProbation.disk.slots).toMatchObject({ active: null, previous: null, refused: [] });
    expect(pinnedOnProbation.host.adopted).toEqual([]);
    await pinnedOnProbation.end();
  });
});

describe('a full disk', () => {
  const full = new AgentError('model_space', 'full');

  it.each(['downloading', 'verifying', 'testing', 'shadow', 'probation'])(
    'at phase %s fails the install, keeps the serving model, and stores the end when there is space',
    async (phase) => {
      const harness = new InstallHarness().start();
      let isFull = false;
      harness.hook = (operation, moment, subject) => {
        if (operation !== 'update' || moment !== 'before') return;
        isFull ||= subject === phase;
        if (isFull) throw full;
      };
      const { serves } = harness.request('alpha');
      await harness.settle();
      await harness.frames(2);
      expect(harness.install?.phase).not.toBe('failed');
      harness.hook = () => undefined;
      await harness.clock.pass(120_000);
      await expect(serves).rejects.toMatchObject({ code: 'model_space' });
      expect(harness.install).toMatchObject({ phase: 'failed', reason: { code: 'model_space' } });
      expect(harness.host.bundle?.digest).toBe(FACTORY.digest);
      expect(harness.disk.slots).toMatchObject({ active: null, refused: [] });
      await harness.end();
    },
  );

  it('on probation does not keep a failed model serving', async () => {
    const harness = new InstallHarness().start();
    await harness.installToProbation('alpha');
    harness.hook = failAt('update', full);
    await harness.frames(1, new AgentError('vision_crashed', 'injected failure'));
    expect(harness.host.bundle?.digest).toBe(FACTORY.digest);
    expect(harness.install?.phase).toBe('probation');
    harness.hook = () => undefined;
    await harness.clock.pass(120_000);
    expect(harness.install?.phase).toBe('rolled_back');
    expect(harness.disk.slots).toMatchObject({ active: null, refused: [{ digest: ALPHA.digest }] });
    await harness.end();
  });
});
