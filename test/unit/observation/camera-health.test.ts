import { describe, expect, it } from 'vitest';
import { CameraHealth } from '../../../src/observation/camera-health.ts';
import { FakeClock } from '../../fixtures/fake-clock.ts';

const WALL = Date.UTC(2026, 5, 1);
const start = (steps: { atMonoMs: number; byMs: number }[] = []) => {
  const clock = new FakeClock(WALL, steps);
  return { clock, health: new CameraHealth({ camera: 'north' }, { clock }) };
};

describe('CameraHealth', () => {
  it('starts, comes up with the first frame, and tells each change once', () => {
    const { clock, health } = start();
    expect(health.state()).toMatchObject({
      state: 'starting',
      reason: null,
      lastFrameMonoMs: null,
      lastFrameAgeS: null,
    });
    clock.pass(5000);
    expect(health.captured(5000)).toEqual({
      camera: 'north',
      from: 'starting',
      to: 'up',
      reason: null,
      lastedMs: 5000,
    });
    clock.pass(60_000);
    expect(health.captured(65_000)).toBeNull();
    expect(health.state()).toMatchObject({
      state: 'up',
      sinceMs: WALL + 5000,
      lastFrameMonoMs: 65_000,
      lastFrameAgeS: 0,
    });
  });

  it('goes down with the reason, tells when the reason changes, and keeps the beginning', () => {
    const { clock, health } = start();
    health.captured(0);
    clock.pass(60_000);
    expect(health.failed('camera_unreachable')).toMatchObject({
      from: 'up',
      to: 'down',
      reason: 'camera_unreachable',
    });
    clock.pass(60_000);
    expect(health.failed('camera_unreachable')).toBeNull();
    expect(health.failed('camera_auth')).toMatchObject({
      from: 'down',
      to: 'down',
      reason: 'camera_auth',
      lastedMs: 60_000,
    });
    expect(health.state()).toMatchObject({
      state: 'down',
      reason: 'camera_auth',
      sinceMs: WALL + 60_000,
      lastFrameAgeS: 120,
    });
    clock.pass(60_000);
    expect(health.captured(180_000)).toMatchObject({ from: 'down', to: 'up', lastedMs: 120_000 });
  });

  it('counts the failures of the last hour', () => {
    const { clock, health } = start();
    for (let minute = 0; minute < 90; minute += 1) {
      health.failed('camera_timeout');
      clock.pass(60_000);
    }
    expect(health.state().failures1h).toBe(59);
    clock.pass(3_600_000);
    expect(health.state().failures1h).toBe(0);
  });

  it('is frozen at once, and up again at once', () => {
    const { health } = start();
    health.captured(0);
    expect(health.frozen(1)).toMatchObject({ to: 'frozen', reason: 'frozen' });
    expect(health.frozen(2)).toBeNull();
    expect(health.captured(3)).toMatchObject({ from: 'frozen', to: 'up', reason: null });
  });

  it('takes one covered burst for a bird, two for a covered lens, and needs two clear ones', () => {
    const { health } = start();
    health.captured(0);
    expect(health.obstructed(1)).toBeNull();
    expect(health.captured(2)).toBeNull();
    expect(health.obstructed(3)).toBeNull();
    expect(health.obstructed(4)).toMatchObject({ from: 'up', to: 'obstructed', reason: 'obstructed' });
    expect(health.captured(5)).toBeNull();
    expect(health.obstructed(6)).toBeNull();
    expect(health.captured(7)).toBeNull();
    expect(health.captured(8)).toMatchObject({ from: 'obstructed', to: 'up' });
  });

  it('comes up from down even when the lens may be covered', () => {
    const { health } = start();
    health.failed('camera_timeout');
    expect(health.obstructed(1)).toMatchObject({ from: 'down', to: 'up' });
    expect(health.obstructed(2)).toMatchObject({ from: 'up', to: 'obstructed' });
    health.failed('camera_timeout');
    expect(health.obstructed(3)).toMatchObject({ from: 'down', to: 'obstructed' });
  });

  it('corrects the beginning when the clock is set', () => {
    const { clock, health } = start([{ atMonoMs: 60_000, byMs: 86_400_000 }]);
    health.captured(0);
    clock.pass(120_000);
    expect(health.state().sinceMs).toBe(WALL + 86_400_000);
  });
});
