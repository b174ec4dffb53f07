import { describe, expect, it } from 'vitest';
import {
  cameraStanding,
  DEVICE_CONDITIONS,
  deviceCondition,
  severityOf,
  type DeviceCondition,
  type DeviceFacts,
} from '../../../src/contract/conditions.ts';

const NOW_MS = 1_780_000_000_000;
const HEARTBEAT = { heardMs: NOW_MS - 20_000, validMs: 90_000, degraded: [] };
const HEALTHY: DeviceFacts = {
  state: 'online',
  stateHeardMs: NOW_MS - 3_600_000,
  heartbeat: HEARTBEAT,
  cameras: [{ state: 'up', dueMs: NOW_MS + 30_000 }],
  isUpdating: false,
  isReadable: true,
};
const stale = { ...HEARTBEAT, heardMs: NOW_MS - 90_001 };

describe('deviceCondition', () => {
  it.each<[DeviceCondition, string, Partial<DeviceFacts>]>([
    ['ok', 'a device without faults', {}],
    ['offline', 'the will, also with a valid heartbeat', { state: 'offline' }],
    ['stopped', 'a clean stop', { state: 'stopped', heartbeat: null }],
    ['stale', 'no heartbeat for three intervals', { heartbeat: stale }],
    ['stale', 'an online device whose heartbeat has expired at the broker', { heartbeat: null }],
    [
      'starting',
      'a status that came before its heartbeat',
      { heartbeat: null, stateHeardMs: NOW_MS - 9_000 },
    ],
    ['stale', 'a stale heartbeat, which says nothing of its cameras', { heartbeat: stale, cameras: [] }],
    ['camera_fault', 'a camera that is down', { cameras: [{ state: 'down', dueMs: null }] }],
    [
      'camera_fault',
      'one of several cameras',
      {
        cameras: [
          { state: 'up', dueMs: null },
          { state: 'frozen', dueMs: null },
        ],
        heartbeat: { ...HEARTBEAT, degraded: ['camera_frozen:b'] },
      },
    ],
    ['camera_fault', 'a slot that passed long ago', { cameras: [{ state: 'up', dueMs: NOW_MS - 90_001 }] }],
    ['ok', 'a slot that passed just now', { cameras: [{ state: 'up', dueMs: NOW_MS - 1000 }] }],
    ['degraded', 'a code in degraded', { heartbeat: { ...HEARTBEAT, degraded: ['disk_low'] } }],
    [
      'degraded',
      'a fault during an update',
      {
        isUpdating: true,
        heartbeat: { ...HEARTBEAT, degraded: ['disk_low'] },
      },
    ],
    ['updating', 'an update', { isUpdating: true }],
    ['unreadable', 'a message that does not match', { isReadable: false }],
    ['asleep', 'a slot tomorrow', { cameras: [{ state: 'up', dueMs: NOW_MS + 36_000_000 }] }],
    ['ok', 'no camera', { cameras: [] }],
    ['starting', 'cameras without a frame yet', { cameras: [{ state: 'starting', dueMs: null }] }],
    ['unknown', 'a heartbeat without a status', { state: null }],
    ['unknown', 'nothing', { state: null, heartbeat: null, cameras: [] }],
  ])('is %s for %s', (condition, _what, facts) => {
    expect(deviceCondition({ ...HEALTHY, ...facts }, NOW_MS)).toBe(condition);
  });

  it('orders the worst first', () => {
    expect(severityOf('offline')).toBeLessThan(severityOf('stale'));
    expect(severityOf('stale')).toBeLessThan(severityOf('camera_fault'));
    expect(severityOf('ok')).toBe(DEVICE_CONDITIONS.length - 1);
  });
});

it('cameraStanding asks for the slot before the state', () => {
  const standing = (state: 'up' | 'down', dueMs: number | null): string =>
    cameraStanding({ state, dueMs }, 90_000, NOW_MS);
  expect([standing('up', null), standing('down', NOW_MS), standing('down', NOW_MS - 100_000)]).toEqual([
    'current',
    'down',
    'overdue',
  ]);
  expect([standing('up', NOW_MS + 1_000_000), standing('down', NOW_MS + 1_000_000)]).toEqual([
    'asleep',
    'down',
  ]);
});
