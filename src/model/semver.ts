import Comparator from 'semver/classes/comparator.js';
import Range from 'semver/classes/range.js';
import type SemVer from 'semver/classes/semver.js';
import parse from 'semver/functions/parse.js';

/** Largest major, minor or patch number that is accepted. */
const MAX_NUMBER = 999_999_999;

/**
 * Parses a full semver version such as `1.2.3-rc.1+build`. Returns null for anything else, also for `v1.2.3` and `1.2`.
 */
export function parseVersion(text: string): SemVer | null {
  const version = parse(text);
  if (version === null) return null;
  // The semver package also accepts a leading "v" and surrounding spaces; this check refuses them.
  const build = version.build.length > 0 ? `+${version.build.join('.')}` : '';
  if (version.version + build !== text) return null;
  return Math.max(version.major, version.minor, version.patch) <= MAX_NUMBER ? version : null;
}

/**
 * Parses a version range: one or more comparators, separated by spaces, that must all be true. A comparator is `*`, or
 * a full version, optionally with `=`, `>=`, `>`, `<=`, `<`, `^` or `~` before it. Returns null for anything else:
 * `||`, hyphen ranges and partial versions are not allowed. Whether a prerelease is in the range depends only on its
 * place in the order of versions.
 */
export function parseRange(text: string): ((version: SemVer) => boolean) | null {
  const words = text
    .trim()
    .replace(/(>=|<=|>|<|=|\^|~)\s+/g, '$1')
    .split(/\s+/);
  const isStrict = words.every((word) => word === '*' || parseVersion(word.replace(/^(>=|<=|[><=^~])/, '')));
  if (!isStrict) return null;
  // The semver package is not used for the whole range: its `Range.test` refuses prereleases of other versions, and its
  // `Range` drops `>=0.0.0`. So test each comparator alone.
  const comparators = words.filter((word) => word !== '*').flatMap(comparatorsOf);
  return (version) => comparators.every((comparator) => comparator.test(version));
}

function comparatorsOf(word: string): readonly Comparator[] {
  if (!/^[\^~]/.test(word)) return [new Comparator(word)];
  const upper = new Range(word).set[0] ?? [];
  return [new Comparator(`>=${word.slice(1)}`), ...upper];
}
