import { expect, it } from 'vitest';
import { ModelTorture } from '../../../scripts/model-torture/torture.ts';

// The long form is `npm run torture:models`: 300 kills.
it('comes back with a working model from eight kills of everything in the midst of installs, and the install ends', async () => {
  const torture = new ModelTorture({ seed: 5, kills: 8, lifeMs: 2500 }, { tell: () => undefined });
  try {
    const report = await torture.run();
    expect(report.faults).toEqual([]);
    expect(report.requested).toBeGreaterThan(0);
    // The kills really come into installs.
    expect(Object.keys(report.killsByPhase).filter((phase) => phase !== 'none')).not.toEqual([]);
    expect(report.ends['committed']).toBeGreaterThan(0);
  } finally {
    await torture.cleanUp();
  }
}, 600_000);
