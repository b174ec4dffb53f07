import { describe, expect, it } from 'vitest';
import { CameraHealth } from '../../../src/observation/camera-health.ts';
import { FakeClock } from '../../fixtures/fake-clock.ts';

const WALL = Date.UTC(2026, 5, 1);
const start = (steps: { atMonoMs: number; byMs: number }[] = []) => {
  const clock = new FakeClock(WALL, steps);
  return { clock, health: new CameraHealth({ camera: 'north' }, { clock }) };
};

describe('CameraHealth', () => {
  it('changes from starting to up with the first frame, and reports each change once', () => {
    const { clock, health } = start();
    expect(health.state()).toMatchObject({
      state: 'starting',
      reason: null,
      lastFrameMonoMs: null,
      lastFrameAgeS: null,
    });
    clock.pass(5000);
    expect(health.reportCaptured(5000)).toEqual({
      camera: 'north',
      from: 'starting',
      to: 'up',
      reason: null,
      lastedMs: 5000,
      failure: null,
    });
    clock.pass(60_000);
    expect(health.reportCaptured(65_000)).toBeNull();
    expect(health.state()).toMatchObject({
      state: 'up',
      sinceMs: WALL + 5000,
      lastFrameMonoMs: 65_000,
      lastFrameAgeS: 0,
    });
  });

  it('goes down with the reason, reports a new reason, and keeps the start time', () => {
    const { clock, health } = start();
    health.reportCaptured(0);
    clock.pass(60_000);
    expect(health.reportFailed('camera_unreachable')).toMatchObject({
      from: 'up',
      to: 'down',
      reason: 'camera_unreachable',
    });
    clock.pass(60_000);
    expect(health.reportFailed('camera_unreachable')).toBeNull();
    expect(health.reportFailed('camera_auth')).toMatchObject({
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
    expect(health.reportCaptured(180_000)).toMatchObject({ from: 'down', to: 'up', lastedMs: 120_000 });
  });

  it('counts the failures of the last hour', () => {
    const { clock, health } = start();
    for (let minute = 0; minute < 90; minute += 1) {
      health.reportFailed('camera_timeout');
      clock.pass(60_000);
    }
    expect(health.state().failures1h).toBe(59);
    clock.pass(3_600_000);
    expect(health.state().failures1h).toBe(0);
  });

  it('becomes frozen and up again at once', () => {
    const { health } = start();
    health.reportCaptured(0);
    expect(health.reportFrozen(1)).toMatchObject({ to: 'frozen', reason: 'frozen' });
    expect(health.reportFrozen(2)).toBeNull();
    expect(health.reportCaptured(3)).toMatchObject({ from: 'frozen', to: 'up', reason: null });
  });

  it('becomes obstructed after two covered bursts, and up after two clear ones', () => {
    const { health } = start();
    health.reportCaptured(0);
    expect(health.reportObstructed(1)).toBeNull();
    expect(health.reportCaptured(2)).toBeNull();
    expect(health.reportObstructed(3)).toBeNull();
    expect(health.reportObstructed(4)).toMatchObject({ from: 'up', to: 'obstructed', reason: 'obstructed' });
    expect(health.reportCaptured(5)).toBeNull();
    expect(health.reportObstructed(6)).toBeNull();
    expect(health.reportCaptured(7)).toBeNull();
    expect(health.reportCaptured(8)).toMatchObject({ from: 'obstructed', to: 'up' });
  });

  it('changes from down to up with a covered burst, and to obstructed with the second one', () => {
    const { health } = start();
    health.reportFailed('camera_timeout');
    expect(health.reportObstructed(1)).toMatchObject({ from: 'down', to: 'up' });
    expect(health.reportObstructed(2)).toMatchObject({ from: 'up', to: 'obstructed' });
    health.reportFailed('camera_timeout');
    expect(health.reportObstructed(3)).toMatchObject({ from: 'down', to: 'obstructed' });
  });

  it('corrects the start time after a step of the clock', () => {
    const { clock, health } = start([{ atMonoMs: 60_000, byMs: 86_400_000 }]);
    health.reportCaptured(0);
    clock.pass(120_000);
    expect(health.state().sinceMs).toBe(WALL + 86_400_000);
  });
});
