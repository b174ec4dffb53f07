import { describe, expect, it } from 'vitest';
import { stepAt } from '../../../../src/camera/simulated/scene.ts';

describe('stepAt', () => {
  const script = {
    steps: [
      { fromS: 5, conditions: { night: true } },
      { fromS: 9, conditions: { frozen: true } },
    ],
  };

  it('returns the last step that has started', () => {
    expect(stepAt(undefined, 3)).toEqual({ fromS: 0, conditions: {} });
    expect(stepAt(script, 4.9)).toEqual({ fromS: 0, conditions: {} });
    expect(stepAt(script, 5).conditions).toEqual({ night: true });
    expect(stepAt(script, 900)).toEqual(script.steps[1]);
  });
});
