import { describe, expect, it } from 'vitest';
import { FACTORY, InstallWorld, refOf, requestOf } from '../../fixtures/install.ts';

describe('an install', () => {
  it('walks through every phase, each stored and told before it is worked on', async () => {
    const world = new InstallWorld().start();
    const { accepted, serves } = world.installer.request(requestOf('alpha'), { clearFailed: false });
    expect(accepted.phase).toBe('requested');
    await world.settle();
    await world.frames(2);
    await expect(serves).resolves.toMatchObject({ phase: 'probation' });
    expect(world.disk.slots).toMatchObject({ active: refOf('alpha'), previous: FACTORY, candidate: null });
    await world.frames(3);
    await world.clock.pass(60_000);
    expect(world.install?.phase).toBe('committed');
    expect(world.phases).toEqual([
      'requested',
      'downloading',
      'verifying',
      'testing',
      'shadow',
      'probation',
      'committed',
    ]);
    expect(world.eventTypes).toEqual(['model_install_started', 'model_install_committed']);
    expect(world.host.open.size + world.host.listeners).toBe(0);
    await world.end();
  });
});
