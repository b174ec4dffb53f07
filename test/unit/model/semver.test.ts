import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { parseRange, parseVersion } from '../../../src/model/semver.ts';

const version = (text: string) => parseVersion(text)!;
const inRange = (range: string, text: string): boolean | null => parseRange(range)?.(version(text)) ?? null;

describe('parseVersion', () => {
  it('orders versions as semver section 11 says', () => {
    const ordered = [
      '1.0.0-alpha',
      '1.0.0-alpha.1',
      '1.0.0-alpha.beta',
      '1.0.0-beta',
      '1.0.0-beta.2',
      '1.0.0-beta.11',
      '1.0.0-rc.1',
      '1.0.0',
      '1.0.1',
      '1.2.0',
      '1.10.0',
      '2.0.0',
    ];
    const shuffled = ordered.toReversed().sort((a, b) => version(a).compare(version(b)));
    expect(shuffled).toEqual(ordered);
  });

  it('ignores build metadata', () => {
    expect(version('1.0.0+a').compare(version('1.0.0+b.2'))).toBe(0);
  });

  it.each([
    '',
    '1',
    '1.2',
    '1.2.3.4',
    '01.2.3',
    '1.02.3',
    '1.2.3-',
    '1.2.3-01',
    '1.2.3-a..b',
    'v1.2.3',
    '1.2.3 ',
    '9999999999.0.0',
  ])('rejects %j', (text) => {
    expect(parseVersion(text)).toBeNull();
  });

  it('gives an antisymmetric and transitive order', () => {
    const part = fc.constantFrom(0, 1, 2, 10);
    const any = fc
      .tuple(part, part, part, fc.constantFrom('', '-0', '-1', '-a', '-a.1', '-a.b', '-10'))
      .map(([a, b, c, d]) => version(`${a}.${b}.${c}${d}`));
    fc.assert(
      fc.property(any, any, any, (a, b, c) => {
        expect(Math.sign(a.compare(b))).toBe(-Math.sign(b.compare(a)) + 0);
        if (a.compare(b) <= 0 && b.compare(c) <= 0) {
          expect(a.compare(c)).toBeLessThanOrEqual(0);
        }
      }),
    );
  });
});

describe('parseRange', () => {
  it.each([
    ['*', '0.0.1', true],
    ['1.2.3', '1.2.3', true],
    ['=1.2.3', '1.2.4', false],
    ['>=0.1.0', '0.1.0', true],
    ['>=0.1.0', '0.0.9', false],
    ['>= 0.1.0', '0.2.0', true],
    ['>1.0.0', '1.0.0', false],
    ['<=1.0.0', '1.0.1', false],
    ['>=0.1.0 <1.0.0', '0.9.9', true],
    ['>=0.1.0 <1.0.0', '1.0.0', false],
    ['^1.2.3', '1.9.0', true],
    ['^1.2.3', '1.2.2', false],
    ['^1.2.3', '2.0.0', false],
    ['^1.2.3', '2.0.0-rc.1', false],
    ['^0.2.3', '0.2.9', true],
    ['^0.2.3', '0.3.0', false],
    ['^0.0.3', '0.0.3', true],
    ['^0.0.3', '0.0.4', false],
    ['~1.2.3', '1.2.9', true],
    ['~1.2.3', '1.3.0', false],
    ['~1.2.3', '1.3.0-rc.1', false],
    ['>=0.1.0', '0.2.0-rc.1', true],
    ['>=0.0.0', '0.0.0-rc.1', false],
    ['^0.0.0', '0.0.0-rc.1', false],
  ])('%s contains %s: %s', (range, text, expected) => {
    expect(inRange(range, text)).toBe(expected);
  });

  it.each(['', ' ', 'latest', '^1', '>=1.2', '1.x', '1.2.3 || 2.0.0', '1.0.0 - 2.0.0', '>=>=1.0.0', '^'])(
    'rejects the range %j',
    (range) => {
      expect(parseRange(range)).toBeNull();
    },
  );
});
