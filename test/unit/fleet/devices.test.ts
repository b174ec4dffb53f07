import { describe, expect, it } from 'vitest';
import { byUrgency, failureOf, fleetLine, hasLeft } from '../../../src/cli/fleet/watch.ts';
import { readDeviceMessage } from '../../../src/fleet/device-messages.ts';
import { Devices } from '../../../src/fleet/devices.ts';
import { parseFleetGroups, selectDevices } from '../../../src/fleet/selection.ts';
import { deviceMessages } from '../../fixtures/device-messages.ts';

describe('selectDevices', () => {
  it.each([
    ['home/pole-1', 'home/pole-1', true],
    ['home/pole-1', 'home/pole-10', false],
    ['home', 'home/pole-1', true],
    ['home/*', 'home/pole-1', true],
    ['home/+', 'home/pole-1', true],
    ['+/+', 'home/pole-1', true],
    ['*', 'home/pole-1', true],
    ['home/pole-?', 'home/pole-1', true],
    ['home/pole-?', 'home/pole-10', false],
    ['home/+', 'home2/pole-1', false],
    ['home/p.le-1', 'home/pole-1', false],
  ])('compares the pattern %s with %s: %s', (pattern, name, wanted) => {
    expect(selectDevices([pattern])(name)).toBe(wanted);
  });

  it.each(['home/#', 'home/', '/pole-1', 'home/pole-1/north', '', '#'])(
    'refuses the pattern %j, which no device matches',
    (pattern) => {
      expect(() => selectDevices(['*'], [pattern])).toThrow('selects no device');
    },
  );

  it('compares a pattern of many wildcards in a short time', () => {
    expect(selectDevices([`home/${'*'.repeat(40)}x`])(`home/${'a'.repeat(64)}`)).toBe(false);
  });

  it('selects by groups and tags, several together, without those to leave out', () => {
    const groups = parseFleetGroups(
      {
        groups: { canaries: ['home/pole-1', 'harbour/cam-?'] },
        tags: { 'home/*': ['pi5', 'north'], 'harbour/cam-3': ['pi5'] },
      },
      'fleet.yaml',
    );
    const all = ['home/pole-1', 'home/pole-2', 'harbour/cam-3', 'harbour/cam-4', 'bay/one'];
    const select = (to: string[], except: string[] = []) => all.filter(selectDevices(to, except, groups));
    expect(select(['group:canaries'])).toEqual(['home/pole-1', 'harbour/cam-3', 'harbour/cam-4']);
    expect(select(['tag:pi5'])).toEqual(['home/pole-1', 'home/pole-2', 'harbour/cam-3']);
    expect(select(['tag:north', 'bay'])).toEqual(['home/pole-1', 'home/pole-2', 'bay/one']);
    expect(select(['*'], ['group:canaries', 'bay/*'])).toEqual(['home/pole-2']);
    expect(() => select(['group:none'])).toThrow('there is no group:none');
    expect(() => select(['tag:toString'])).toThrow('there is no tag:toString');
    expect(() => parseFleetGroups({ groups: { a: 'home' } }, 'fleet.yaml')).toThrow('fleet.yaml/groups/a');
    expect(() => parseFleetGroups([], 'fleet.yaml')).toThrow('fleet.yaml');
  });
});

it('readDeviceMessage accepts properties and codes of later agents', () => {
  const { status = {}, health = {} } = deviceMessages();
  const payload = (value: object): Buffer => Buffer.from(JSON.stringify(value));
  expect(readDeviceMessage('status', payload({ ...status, extra: 1 }))).toMatchObject({ state: 'online' });
  const later = { ...health, extra: 1, degraded: ['code_of_a_later_version'] };
  const read = readDeviceMessage('health', payload(later));
  expect(read).toMatchObject({ degraded: ['code_of_a_later_version'] });
  expect(read).not.toHaveProperty('extra');
  expect(readDeviceMessage('status', payload({ ...status, state: 'other' }))).toBeNull();
});

describe('fleet watch', () => {
  const { status = {}, health = {} } = deviceMessages();
  const fill = (messages: Readonly<Record<string, object>>) => {
    const devices = new Devices('swellsight/v1', () => true);
    for (const [topic, message] of Object.entries(messages))
      devices.receive(`swellsight/v1/home/${topic}`, Buffer.from(JSON.stringify(message)));
    return devices;
  };

  it('orders offline and degraded devices first, and sums up the fleet', () => {
    const devices = fill({
      'a/status': status,
      'b/status': status,
      'd/status': status,
      'e/status': status,
      'b/health': { ...health, degraded: ['disk_low'] },
      'c/status': { ...status, state: 'offline' },
      'd/health': {},
    }).list();
    expect(devices.toSorted(byUrgency).map(({ name }) => name)).toEqual([
      'home/c',
      'home/b',
      'home/d',
      'home/a',
      'home/e',
    ]);
    expect(fleetLine(devices)).toMatch(
      /^5 devices: online \(4\), offline \(1\); 1 degraded; models: .*; agents: /,
    );
  });

  it('names the install that failed last', () => {
    const at = '2026-12-01T00:00:00.000Z';
    const install = {
      ...{ update_id: '7d2a3d5c-3f0a-4c54-9d3e-0d4f1b8f6a11', name: 'gauge', version: '2.0.0' },
      ...{ digest: null, source: 'repository', phase: 'failed', in_progress: false, trusted: true },
      ...{ reason: { code: 'model_space', message: 'full' }, bytes: 0, total_bytes: null, percent: null },
      ...{ started_at: at, at, candidate: null, shadow: null, probation: null },
    };
    const read = (phase: string): unknown => {
      const state = { ...deviceMessages()['model/state'], phase, install };
      return failureOf(fill({ 'a/model/state': state }).find('home/a')?.model ?? null);
    };
    expect(read('failed')).toBe('failed: gauge 2.0.0, model_space');
    // After a later change of the model, the failure is history.
    expect(read('idle')).toBeNull();
  });

  it('knows which devices left, by the newest sign of life', () => {
    const at = (day: number) => new Date(Date.UTC(2026, 5, day)).toISOString();
    const devices = fill({
      'there/status': { ...status, at: at(1) },
      'gone/status': { ...status, state: 'stopped', at: at(1) },
      // The will has the time of the connection.
      'lost/status': { ...status, state: 'offline', at: at(1) },
      'lost/camera/north/latest': { published_at: at(20) },
      'old/status': { ...status, state: 'offline', at: at(1) },
      'old/camera/north/latest': { published_at: at(2) },
      'stopped/status': { ...status, state: 'stopped', at: at(19) },
    });
    const left = devices.list().filter((device) => hasLeft(device, Date.UTC(2026, 5, 14)));
    expect(left.map(({ name }) => name)).toEqual(['home/gone', 'home/old']);
  });
});
