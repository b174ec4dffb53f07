import { describe, expect, it } from 'vitest';
import { AgentError } from '../../../../src/base/errors.ts';
import { ALPHA, BETA, FACTORY } from '../../../fixtures/install-doubles.ts';
import { InstallHarness } from '../../../fixtures/install.ts';

describe('Probation', () => {
  it('commits only after both the answers and the minutes', async () => {
    const harness = new InstallHarness().start();
    await harness.installToProbation('alpha');
    await harness.frames(3);
    await harness.clock.pass(59_000);
    expect(harness.install?.phase).toBe('probation');
    await harness.clock.pass(1000);
    expect(harness.install?.phase).toBe('committed');

    await harness.installToProbation('beta');
    await harness.clock.pass(3_600_000);
    expect(harness.install?.phase).toBe('probation');
    await harness.frames(3);
    expect(harness.install?.phase).toBe('committed');
    await harness.end();
  });

  it.each(['vision_crashed', 'vision_timeout', 'vision_output_invalid', 'model_out_of_memory'] as const)(
    'rolls back on the first %s and refuses the bundle',
    async (code) => {
      const harness = new InstallHarness().start();
      await harness.installAndCommit('alpha');
      await harness.installToProbation('beta');
      await harness.frames(2);
      await harness.frames(1, new AgentError(code, 'injected failure'));
      expect(harness.host.bundle?.digest).toBe(ALPHA.digest);
      expect(harness.disk.slots.refused).toMatchObject([
        { digest: BETA.digest, code: 'model_probation_failed' },
      ]);
      expect(harness.events.at(-1)).toMatchObject({
        type: 'model_install_rolled_back',
        severity: 'error',
        code: 'model_probation_failed',
        context: { name: 'beta', phase: 'probation', digest: BETA.digest },
      });
      expect(harness.disk.bundles.has(BETA.digest)).toBe(false);
      await harness.end();
    },
  );

  it('ignores corrupt images and frames that the former model finishes', async () => {
    const harness = new InstallHarness().start();
    harness.request('alpha');
    await harness.settle();
    const crash = new AgentError('vision_crashed', 'the former model');
    harness.hook = (operation, moment) => {
      if (operation === 'adopt' && moment === 'before') harness.host.frame(crash);
    };
    await harness.frames(2);
    harness.hook = () => undefined;
    expect(harness.install?.phase).toBe('probation');
    await harness.frames(20, new AgentError('image_corrupt', 'cut off'));
    expect(harness.install?.phase).toBe('probation');
    await harness.end();
  });

  it('rolls back on a higher error rate than the former model, from ten frames and three failures on', async () => {
    const busy = new AgentError('vision_busy', 'queue full');
    const harness = new InstallHarness({ probation: { observations: 100, minutes: 1 } }).start();
    harness.host.errorRate = 0.3;
    await harness.installToProbation('alpha');
    await harness.frames(3, busy);
    await harness.frames(7);
    expect(harness.install?.phase).toBe('probation');
    await harness.frames(1, busy);
    expect(harness.install).toMatchObject({
      phase: 'rolled_back',
      reason: { code: 'model_probation_failed' },
    });
    await harness.end();
  });

  it('continues the counts of answers and time after a restart', async () => {
    const harness = new InstallHarness().start();
    await harness.installToProbation('alpha');
    await harness.frames(2);
    await harness.clock.pass(50_000);
    await harness.end();
    harness.clock.step(86_400_000);
    const next = harness.restarted().start();
    expect(next.install).toMatchObject({ phase: 'probation', probation: { answers: 2 } });
    await next.clock.pass(9000);
    await next.frames(1);
    expect(next.install?.phase).toBe('probation');
    await next.clock.pass(1000);
    expect(next.install?.phase).toBe('committed');
    await next.end();
  });

  it('serves the factory model when the former model no longer starts', async () => {
    const harness = new InstallHarness().start();
    await harness.installAndCommit('alpha');
    await harness.installToProbation('beta');
    harness.hook = (operation, moment, subject) => {
      if (operation === 'prove' && moment === 'before' && subject === ALPHA.digest)
        throw new AgentError('model_digest_mismatch', 'damaged');
    };
    await harness.frames(1, new AgentError('vision_crashed', 'injected failure'));
    expect(harness.host.bundle?.digest).toBe(FACTORY.digest);
    expect(harness.disk.slots).toMatchObject({ active: null, previous: ALPHA });
    expect(harness.install?.phase).toBe('rolled_back');
    await harness.end();
  });
});
