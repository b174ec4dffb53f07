import { percentDecode } from '../camera/credentials.ts';
import type { Settings } from '../config/schema.ts';

export const MASK = '***';
/** A shorter secret would match parts of ordinary words. */
const MIN_SECRET_CHARS = 4;

/** Replaces secrets in a text. */
export type Scrub = (text: string) => string;

/** Finds each secret as it is, percent-encoded, and as a part of JSON. */
export function createScrub(secrets: readonly (string | null)[]): Scrub {
  const forms = new Set<string>();
  for (const secret of secrets) {
    if (secret === null || secret.length < MIN_SECRET_CHARS) continue;
    for (const form of [
      secret,
      encodeURIComponent(secret.toWellFormed()),
      JSON.stringify(secret).slice(1, -1),
    ])
      forms.add(form);
  }
  // The longest first, because one secret may be a part of another.
  const longestFirst = [...forms].sort((a, b) => b.length - a.length);
  return (text) => longestFirst.reduce((rest, secret) => rest.replaceAll(secret, MASK), text);
}

/** The secrets of the settings, among them paths of addresses, because a path may be a key. */
export const secretsOfSettings = (settings: Settings): (string | null)[] => [
  settings.http.token,
  settings.mqtt.password,
  ...settings.mqtt.url.flatMap(secretsOfUrl),
  ...[settings.model.repository, settings.update.repository].flatMap((url) =>
    url === null ? [] : secretsOfUrl(url),
  ),
  ...settings.cameras.flatMap(({ password, url, command, headers }) => [
    password,
    ...Object.values(headers).flatMap(secretsOfHeader),
    ...(url === null ? [] : secretsOfUrl(url)),
    ...(command ?? []).slice(1),
  ]),
];

/** The value, and its parts: a server may repeat one cookie of several, or a token without its scheme. */
const secretsOfHeader = (value: string): string[] => [
  value,
  ...value.split(/[;,\s]+/).flatMap((part) => [part, part.slice(part.indexOf('=') + 1)]),
];

export function secretsOfUrl(text: string): string[] {
  const url = URL.parse(text);
  if (!url) return [];
  const { username, password, pathname, search } = url;
  return [username, password, percentDecode(username), percentDecode(password), pathname + search, pathname];
}

/** Applies a function to every text in a JSON value. */
export function mapTexts(value: unknown, map: (text: string) => string): unknown {
  if (typeof value === 'string') return map(value);
  if (Array.isArray(value)) return value.map((item: unknown) => mapTexts(item, map));
  if (typeof value !== 'object' || value === null) return value;
  return Object.fromEntries(Object.entries(value).map(([key, inner]) => [map(key), mapTexts(inner, map)]));
}

/** Applies a function to every text of a log line in JSON, so that the line stays JSON, or to any other line as a whole. */
export function mapLogLine(line: string, map: (text: string) => string): string {
  try {
    return JSON.stringify(mapTexts(JSON.parse(line), map));
  } catch {
    return map(line);
  }
}
