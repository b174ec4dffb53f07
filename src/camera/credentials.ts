import { redactUrl } from '../base/log.ts';

/** The settings of a camera that may hold credentials. */
export interface CredentialSettings {
  readonly url: string | null;
  readonly username: string | null;
  readonly password: string | null;
}

/** Returns user name and password from the settings, otherwise from the URL; empty strings when missing. */
export function resolveCredentials({ url, username, password }: CredentialSettings): {
  readonly username: string;
  readonly password: string;
} {
  const parsed = url === null ? null : URL.parse(url);
  return {
    username: username ?? percentDecode(parsed?.username ?? ''),
    password: password ?? percentDecode(parsed?.password ?? ''),
  };
}

/**
 * Returns a function that removes the camera's credentials from a text, such as the output of a program. It finds them
 * in plain text, percent-encoded, form-encoded, and in the base64 of HTTP Basic authentication.
 */
export function createRedactor(settings: CredentialSettings): (text: string) => string {
  const secrets = new Set<string>();
  const add = (secret: string | null): void => {
    if (secret === null || secret === '') return;
    secrets.add(secret);
    secrets.add(encodeURIComponent(secret));
    secrets.add(encodeURI(secret));
  };
  add(settings.password);
  const url = settings.url === null ? null : URL.parse(settings.url);
  if (url) {
    add(url.password);
    add(percentDecode(url.password));
    for (const value of url.searchParams.values()) if (value.length >= 6) add(value);
  }
  const { username, password } = resolveCredentials(settings);
  if (password !== '') add(Buffer.from(`${username}:${password}`).toString('base64'));
  // Longest first, so that a short secret does not split a longer one that contains it.
  const longestFirst = [...secrets].sort((a, b) => b.length - a.length);
  return (text) => {
    // A password may contain "@": remove everything up to the last one before the path.
    let redacted = text.replace(/\/\/[^/\s'"]*@/g, '//***@');
    for (const secret of longestFirst) redacted = redacted.replaceAll(secret, '***');
    return redactUrl(redacted);
  };
}

/** Decodes percent-encoding. Returns the text unchanged when the encoding is invalid. */
export function percentDecode(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}
