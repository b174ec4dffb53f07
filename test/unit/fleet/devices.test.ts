import { describe, expect, it } from 'vitest';
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
