import { describe, expect, it } from 'vitest';
import { AgentError } from '../../../../src/base/errors.ts';
import { failAt, liveFrame, resultOf } from '../../../fixtures/install-doubles.ts';
import { InstallHarness } from '../../../fixtures/install.ts';

describe('compareOnLiveFrames', () => {
  it('compares one frame at a time, skips rejected frames, and stores the report before the swap', async () => {
    const harness = new InstallHarness({ shadow: { frames: 3, patienceMs: 60_000 } }).start();
    const release: (() => void)[] = [];
    harness.calibrations = [
      {
        camera: 'north',
        labels: 12,
        outcome: 'lost',
        refittedLabels: 0,
        looMaeBeforeM: 0.2,
        looMaeAfterM: null,
      },
      {
        camera: 'south',
        labels: 2,
        outcome: 'kept',
        refittedLabels: 0,
        looMaeBeforeM: null,
        looMaeAfterM: null,
      },
    ];
    harness.host.answer = () =>
      resultOf({ waveHeight: { heightM: 1.5, lowM: null, highM: null, coverage: null } }, 20);
    let analyses = 0;
    harness.hook = (operation) => {
      if (operation !== 'analyze') return undefined;
      analyses += 1;
      return new Promise<void>((resolve) => release.push(resolve));
    };
    harness.request('alpha');
    await harness.settle();
    harness.host.frame(undefined, liveFrame(resultOf(null)));
    expect(analyses).toBe(0);
    for (let n = 0; n < 3; n += 1) {
      harness.host.frame();
      harness.host.frame();
      await harness.settle();
      release.shift()?.();
      await harness.settle();
    }
    expect(analyses).toBe(3);
    const stored = harness.disk.history.filter(({ install }) => install?.phase === 'shadow').at(-1);
    expect(stored?.install?.shadow).toEqual({
      frames: 3,
      failures: 0,
      activeP50Ms: 10,
      candidateP50Ms: 20,
      heightMeanDifferenceM: 0.5,
      heightMaxDifferenceM: 0.5,
      directionDiffers01: null,
      breakingDiffers01: null,
      calibrations: harness.calibrations,
    });
    expect(harness.events.filter(({ type }) => type === 'model_calibration_lost')).toMatchObject([
      { context: { camera: 'north', labels: 12 }, severity: 'warning' },
    ]);
    expect(harness.install?.phase).toBe('probation');
    await harness.end();
  });

  it('continues with a warning when too few frames arrive in time', async () => {
    const harness = new InstallHarness().start();
    harness.request('alpha');
    await harness.settle();
    await harness.frames(1);
    await harness.clock.pass(60_000);
    expect(harness.install).toMatchObject({
      phase: 'probation',
      reason: { code: 'model_shadow_short' },
      shadow: { frames: 1 },
    });
    await harness.passProbation();
    expect(harness.install).toMatchObject({ phase: 'committed', reason: { code: 'model_shadow_short' } });
    await harness.end();
  });

  it('fails on the first frame that only the candidate fails on, but not on a corrupt image', async () => {
    const harness = new InstallHarness().start();
    harness.hook = failAt('analyze', new AgentError('image_corrupt', 'cut off'));
    const { serves } = harness.request('alpha');
    await harness.settle();
    await harness.frames(3);
    expect(harness.install?.phase).toBe('shadow');
    harness.hook = failAt('analyze', new AgentError('vision_output_invalid', 'NaN'));
    await harness.frames(1);
    await expect(serves).rejects.toMatchObject({ code: 'model_candidate_failed' });
    await harness.end();
  });

  it('continues without a forecast when the forecast fails', async () => {
    const harness = new InstallHarness().start();
    harness.hook = failAt('forecast', new AgentError('store_failed', 'no images'));
    await harness.installToProbation('alpha');
    expect(harness.install?.shadow?.calibrations).toEqual([]);
    await harness.end();
  });
});
