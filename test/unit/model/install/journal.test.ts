import { describe, expect, it } from 'vitest';
import { InstallHarness } from '../../../fixtures/install.ts';

describe('InstallJournal', () => {
  it('publishes each phase at once, and progress within a phase at most once a second', async () => {
    const harness = new InstallHarness({ shadow: { frames: 5, patienceMs: 60_000 } }).start();
    harness.request('alpha');
    await harness.settle();
    await harness.frames(5);
    const reports = harness.progress.map(({ phase, percent }) => `${phase} ${String(percent)}`);
    expect(reports).toEqual([
      'requested null',
      'downloading null',
      'downloading 100',
      'verifying null',
      'testing null',
      'shadow 0',
      'shadow 100',
      'probation null',
    ]);
    await harness.end();
  });
});
