import { redactUrl } from '../base/log.ts';

/**
 * Removes a camera's credentials from any text: what programs print, what errors say. Knows them in every spelling
 * in which they may come back (as given, percent-encoded, form-encoded, base64 of the Basic scheme).
 */
export function redactor(secrets: {
  readonly url: string | null;
  readonly username: string | null;
  readonly password: string | null;
}): (text: string) => string {
  const known = new Set<string>();
  const add = (secret: string | null): void => {
    if (secret === null || secret === '') return;
    known.add(secret);
    known.add(encodeURIComponent(secret));
    known.add(encodeURI(secret));
  };
  add(secrets.password);
  const parsed = secrets.url === null ? null : URL.parse(secrets.url);
  if (parsed) {
    add(parsed.password);
    add(percentDecoded(parsed.password));
    for (const value of parsed.searchParams.values()) if (value.length >= 6) add(value);
  }
  const user = secrets.username ?? percentDecoded(parsed?.username ?? '');
  const password = secrets.password ?? percentDecoded(parsed?.password ?? '');
  if (password !== '') add(Buffer.from(`${user}:${password}`).toString('base64'));
  // Longest first, so that no secret is cut by a shorter one inside it.
  const ordered = [...known].sort((a, b) => b.length - a.length);
  return (text) => {
    // A password may itself hold an "@": everything up to the last one before the path goes.
    let out = text.replace(/\/\/[^/\s'"]*@/g, '//***@');
    for (const secret of ordered) out = out.replaceAll(secret, '***');
    return redactUrl(out);
  };
}

/** The text itself where it is no valid percent-encoding. */
export function percentDecoded(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}
