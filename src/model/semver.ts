/** Versions and ranges as https://semver.org and npm write them; full versions only, no `||` and no hyphen ranges. */

export interface Version {
  /** major, minor, patch. */
  readonly numbers: readonly [number, number, number];
  /** The dot-separated parts after `-`; empty for a release. */
  readonly prerelease: readonly string[];
}

const NUMBER = '(0|[1-9]\\d{0,8})';
const PART = '(?:0|[1-9]\\d*|\\d*[A-Za-z-][0-9A-Za-z-]*)';
const VERSION = new RegExp(
  `^${NUMBER}\\.${NUMBER}\\.${NUMBER}(?:-(${PART}(?:\\.${PART})*))?(?:\\+[0-9A-Za-z-]+(?:\\.[0-9A-Za-z-]+)*)?$`,
);

/** `null` for anything that is no semver version. Build metadata is dropped, as it has no order. */
export function parseVersion(text: string): Version | null {
  const found = VERSION.exec(text);
  if (!found) return null;
  const [, major, minor, patch, prerelease] = found;
  return {
    numbers: [Number(major), Number(minor), Number(patch)],
    prerelease: prerelease?.split('.') ?? [],
  };
}

/** Negative, zero or positive, by semver's precedence (section 11). */
export function compareVersions(a: Version, b: Version): number {
  for (const [index, number] of a.numbers.entries()) {
    const difference = number - (b.numbers[index] ?? 0);
    if (difference !== 0) return difference;
  }
  if (a.prerelease.length === 0 || b.prerelease.length === 0) {
    return Number(a.prerelease.length === 0) - Number(b.prerelease.length === 0);
  }
  for (const [index, part] of a.prerelease.entries()) {
    const other = b.prerelease[index];
    if (other === undefined) return 1;
    const difference = compareParts(part, other);
    if (difference !== 0) return difference;
  }
  return a.prerelease.length - b.prerelease.length;
}

function compareParts(a: string, b: string): number {
  const [numericA, numericB] = [/^\d+$/.test(a), /^\d+$/.test(b)];
  if (numericA && numericB) return Number(a) - Number(b);
  if (numericA !== numericB) return numericA ? -1 : 1;
  return a === b ? 0 : a < b ? -1 : 1;
}

/** True when the version lies in a range. */
export type Range = (version: Version) => boolean;

/**
 * A range is one or several comparators that must all hold: `1.2.3` or `=1.2.3`, `>=`, `>`, `<=`, `<`, `^1.2.3` (same
 * leftmost number that is not zero), `~1.2.3` (same minor), `*`. `null` when it cannot be read.
 */
export function parseRange(text: string): Range | null {
  const words = text.trim().replace(/(>=|<=|>|<|=|\^|~)\s+/g, '$1');
  if (words === '') return null;
  const comparators = words.split(/\s+/).map(parseComparator);
  const known = comparators.filter((comparator) => comparator !== null);
  if (known.length < comparators.length) return null;
  return (version) => known.every((holds) => holds(version));
}

function parseComparator(word: string): Range | null {
  if (word === '*') return () => true;
  const [, operator = '', rest = ''] = /^(>=|<=|>|<|=|\^|~)?(.*)$/.exec(word) ?? [];
  const bound = parseVersion(rest);
  if (!bound) return null;
  const order = (version: Version): number => compareVersions(version, bound);
  switch (operator) {
    case '>=':
      return (version) => order(version) >= 0;
    case '>':
      return (version) => order(version) > 0;
    case '<=':
      return (version) => order(version) <= 0;
    case '<':
      return (version) => order(version) < 0;
    case '^':
      return (version) => order(version) >= 0 && compareVersions(version, nextMajor(bound)) < 0;
    case '~':
      return (version) => order(version) >= 0 && compareVersions(version, nextMinor(bound)) < 0;
    default:
      return (version) => order(version) === 0;
  }
}

/** The lowest prerelease of the first version that `^` excludes. */
function nextMajor({ numbers: [major, minor, patch] }: Version): Version {
  if (major > 0) return { numbers: [major + 1, 0, 0], prerelease: ['0'] };
  if (minor > 0) return { numbers: [0, minor + 1, 0], prerelease: ['0'] };
  return { numbers: [0, 0, patch + 1], prerelease: ['0'] };
}

const nextMinor = ({ numbers: [major, minor] }: Version): Version => ({
  numbers: [major, minor + 1, 0],
  prerelease: ['0'],
});
