import Comparator from 'semver/classes/comparator.js';
import Range from 'semver/classes/range.js';
import type SemVer from 'semver/classes/semver.js';
import compare from 'semver/functions/compare.js';
import parse from 'semver/functions/parse.js';

/** Largest major, minor or patch number that is accepted. */
const MAX_NUMBER = 999_999_999;

export type Version = SemVer;

/** Parses a full semver version such as `1.2.3-rc.1+build`; null for anything else, `v1.2.3` and `1.2` included. */
export function parseVersion(text: string): Version | null {
  const version = parse(text);
  if (version === null) return null;
  // The library also accepts a leading "v" and surrounding spaces.
  const build = version.build.length > 0 ? `+${version.build.join('.')}` : '';
  if (version.version + build !== text) return null;
  return Math.max(version.major, version.minor, version.patch) <= MAX_NUMBER ? version : null;
}

/** Negative, zero or positive by semver's precedence (section 11); build metadata has no order. */
export const compareVersions = (a: Version, b: Version): number => compare(a, b);

/**
 * Parses a range: one or several comparators that must all hold, separated by spaces. A comparator is `*`, or a full
 * version after `=`, `>=`, `>`, `<=`, `<`, `^`, `~` or nothing. Null for anything else: no `||`, no hyphen range, no
 * partial version. A prerelease belongs to a range by its order alone.
 */
export function parseRange(text: string): ((version: Version) => boolean) | null {
  const words = text
    .trim()
    .replace(/(>=|<=|>|<|=|\^|~)\s+/g, '$1')
    .split(/\s+/);
  const isStrict = words.every((word) => word === '*' || parseVersion(word.replace(/^(>=|<=|[><=^~])/, '')));
  if (!isStrict) return null;
  // `Range.test` refuses prereleases of other versions, and a `Range` drops `>=0.0.0`: test the comparators themselves.
  const comparators = words.filter((word) => word !== '*').flatMap(comparatorsOf);
  return (version) => comparators.every((comparator) => comparator.test(version));
}

function comparatorsOf(word: string): readonly Comparator[] {
  if (!/^[\^~]/.test(word)) return [new Comparator(word)];
  const upper = new Range(word).set[0] ?? [];
  return [new Comparator(`>=${word.slice(1)}`), ...upper];
}
