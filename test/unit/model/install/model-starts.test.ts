import { describe, expect, it } from 'vitest';
import { AgentError } from '../../../../src/base/errors.ts';
import { ALPHA, OTHER_ID } from '../../../fixtures/install-doubles.ts';
import { killedAt, modelStartsOn } from '../../../fixtures/install.ts';

describe('ModelStarts', () => {
  it('rolls back at the third start after two starts that ended the agent', async () => {
    const harness = await killedAt('adopt', 'after');
    modelStartsOn(harness).noteStart();
    modelStartsOn(harness).noteStart();
    expect(harness.disk.slots.active).toEqual(ALPHA);
    modelStartsOn(harness).noteStart();
    expect(harness.disk.slots).toMatchObject({ active: null, previous: null });
    expect(harness.install).toMatchObject({
      phase: 'rolled_back',
      reason: { code: 'model_probation_failed' },
    });
    expect(harness.disk.slots.refused).toMatchObject([{ digest: ALPHA.digest }]);
    expect(harness.eventTypes).toContain('model_install_rolled_back');
    modelStartsOn(harness).noteStart();
    expect(harness.eventTypes.filter((type) => type === 'model_install_rolled_back')).toHaveLength(1);
  });

  it('clears the count when the model serves', async () => {
    const harness = await killedAt('adopt', 'after');
    for (let n = 0; n < 5; n += 1) {
      modelStartsOn(harness).noteStart();
      modelStartsOn(harness).noteServing();
    }
    expect(harness.disk.slots.active).toEqual(ALPHA);
  });

  it('rolls back at the second failure, at the first when another model is tried, and does not refuse a damaged bundle', async () => {
    const crash = new AgentError('vision_crashed', 'gone');
    const twice = await killedAt('adopt', 'after');
    const starts = modelStartsOn(twice);
    starts.noteStart();
    expect(starts.noteFailure(crash, false)).toBe(false);
    expect(starts.noteFailure(crash, false)).toBe(true);
    expect(starts.noteFailure(crash, false)).toBe(false);
    expect(twice.disk.slots.active).toBeNull();

    const once = await killedAt('adopt', 'after');
    expect(modelStartsOn(once).noteFailure(crash, true)).toBe(true);
    expect(once.disk.slots.refused).toHaveLength(1);

    const damaged = await killedAt('adopt', 'after');
    expect(modelStartsOn(damaged).noteFailure(new AgentError('model_digest_mismatch', 'damaged'), true)).toBe(
      true,
    );
    expect(damaged.install?.reason?.code).toBe('model_digest_mismatch');
    expect(damaged.disk.slots.refused).toEqual([]);
  });

  it('ends the watched probation, so that the next install runs', async () => {
    const harness = await killedAt('adopt', 'after');
    harness.start();
    await harness.settle();
    expect(modelStartsOn(harness).noteFailure(new AgentError('vision_crashed', 'gone'), true)).toBe(true);
    const { serves } = harness.request('beta', { updateId: OTHER_ID });
    await harness.settle();
    await harness.frames(2);
    await expect(serves).resolves.toMatchObject({ phase: 'probation' });
    await harness.end();
  });
});
