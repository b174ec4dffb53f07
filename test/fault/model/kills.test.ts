import { expect, it } from 'vitest';
import { ModelTorture } from '../../../scripts/model-torture/torture.ts';

// `npm run torture:models` is the long form with 300 kills.
it('serves a good model after each of eight kills during installs, and completes the install', async () => {
  const torture = new ModelTorture({ seed: 5, kills: 8, lifeMs: 2500 }, { print: () => undefined });
  try {
    const report = await torture.run();
    expect(report.faults).toEqual([]);
    expect(report.requested).toBeGreaterThan(0);
    // Some kills must come during an install.
    expect(Object.keys(report.killsByPhase).filter((phase) => phase !== 'none')).not.toEqual([]);
    expect(report.ends['committed']).toBeGreaterThan(0);
  } finally {
    await torture.cleanUp();
  }
}, 600_000);
