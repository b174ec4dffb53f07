import { signal } from '@preact/signals';
import { served } from './served.ts';

const KEY = 'swellsight.fleet.tags';
const MAX_TAGS = 20;
const MAX_CHARS = 40;

/** Tags that were typed into this browser, by device. */
const ownTags = signal(readOwnTags());

const patterns = Object.entries(served?.tags ?? {}).map(([pattern, names]) => ({
  names,
  isMatch: toMatcher(pattern),
}));

/** Tags of a device: those of the file of `fleet serve`, and those of this browser. */
export function tagsOf(device: string): readonly string[] {
  const own = ownTags.value[device] ?? [];
  if (patterns.length === 0) return own;
  const ofFile = patterns.filter(({ isMatch }) => isMatch.test(device)).flatMap(({ names }) => names);
  return [...new Set([...ofFile, ...own])];
}

export const ownTagsOf = (device: string): readonly string[] => ownTags.value[device] ?? [];

export function setOwnTags(device: string, text: string): void {
  const names = text
    .split(',')
    .map((name) => name.trim().slice(0, MAX_CHARS))
    .filter((name) => name !== '')
    .slice(0, MAX_TAGS);
  const others = Object.entries(ownTags.value).filter(([name]) => name !== device);
  const own = names.length === 0 ? [] : [[device, [...new Set(names)]] as const];
  ownTags.value = Object.fromEntries([...others, ...own]);
  try {
    localStorage.setItem(KEY, JSON.stringify(ownTags.value));
  } catch {
    // A browser may refuse storage: the tags then last until the page is closed.
  }
}

export const listTags = (devices: readonly string[]): readonly string[] =>
  [...new Set(devices.flatMap((device) => tagsOf(device)))].sort();

function readOwnTags(): Readonly<Record<string, readonly string[]>> {
  try {
    const stored: unknown = JSON.parse(localStorage.getItem(KEY) ?? '{}');
    if (typeof stored !== 'object' || stored === null) return {};
    return Object.fromEntries(
      Object.entries(stored).flatMap(([device, names]: [string, unknown]) =>
        Array.isArray(names) ? [[device, names.filter((name) => typeof name === 'string')]] : [],
      ),
    );
  } catch {
    return {};
  }
}

/** As `--to` of `swellsight fleet`: `site/device` with `*` and `?`, or a site. */
function toMatcher(pattern: string): RegExp {
  const full = pattern.includes('/') ? pattern : `${pattern}/*`;
  const escaped = full.replace(/[.^${}()|[\]\\]/g, '\\$&').replace(/[*+]+/g, '[^/]*');
  return new RegExp(`^${escaped.replace(/\?/g, '[^/]')}$`);
}
