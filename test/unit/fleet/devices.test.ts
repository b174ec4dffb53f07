import { describe, expect, it } from 'vitest';
import { byUrgency } from '../../../src/cli/fleet/watch.ts';
import { Devices } from '../../../src/fleet/devices.ts';

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
  for (const name of ['a', 'b', 'd']) receive(`${name}/status`, { state: 'online' });
  receive('b/health', { degraded: ['disk_low'], model: {} });
  receive('c/status', { state: 'offline' });
  expect(
    devices
      .list()
      .toSorted(byUrgency)
      .map(({ name }) => name),
  ).toEqual(['home/c', 'home/b', 'home/a', 'home/d']);
});
