import { describe, expect, it } from 'vitest';
import { byNeed } from '../../../src/cli/fleet/watch.ts';
import { Devices } from '../../../src/fleet/devices.ts';

const fits = (pattern: string, name: string): boolean =>
  new Devices('swellsight/v1', pattern).place(`swellsight/v1/${name}/status`) !== null;

describe('a pattern of devices', () => {
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
  ])('%s, of %s: %s', (pattern, name, wanted) => {
    expect(fits(pattern, name)).toBe(wanted);
  });
});

it('those that are away or degraded are shown before those that are well', () => {
  const devices = new Devices('swellsight/v1', '*');
  const say = (topic: string, value: object): unknown =>
    devices.receive(`swellsight/v1/home/${topic}`, Buffer.from(JSON.stringify(value)));
  for (const name of ['a', 'b', 'd']) say(`${name}/status`, { state: 'online' });
  say('b/health', { degraded: ['disk_low'], model: {} });
  say('c/status', { state: 'offline' });
  expect(
    devices
      .list()
      .toSorted(byNeed)
      .map(({ name }) => name),
  ).toEqual(['home/c', 'home/b', 'home/a', 'home/d']);
});
