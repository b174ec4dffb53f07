import { describe, expect, it } from 'vitest';
import { byUrgency } from '../../../src/cli/fleet/watch.ts';
import { Devices } from '../../../src/fleet/devices.ts';
import { deviceMessages } from '../../fixtures/device-messages.ts';

const matches = (pattern: string, name: string): boolean =>
  new Devices('swellsight/v1', pattern).parseTopic(`swellsight/v1/${name}/status`) !== null;

describe('Devices', () => {
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
  ])('matches the pattern %s with %s: %s', (pattern, name, wanted) => {
    expect(matches(pattern, name)).toBe(wanted);
  });
});

it('byUrgency orders offline and degraded devices first', () => {
  const devices = new Devices('swellsight/v1', '*');
  const receive = (topic: string, value: object): unknown =>
    devices.receive(`swellsight/v1/home/${topic}`, Buffer.from(JSON.stringify(value)));
  const { status = {}, health = {} } = deviceMessages();
  for (const name of ['a', 'b', 'd', 'e']) receive(`${name}/status`, status);
  receive('b/health', { ...health, degraded: ['disk_low'] });
  receive('c/status', { ...status, state: 'offline' });
  receive('d/health', {});
  expect(
    devices
      .list()
      .toSorted(byUrgency)
      .map(({ name }) => name),
  ).toEqual(['home/c', 'home/b', 'home/d', 'home/a', 'home/e']);
});
