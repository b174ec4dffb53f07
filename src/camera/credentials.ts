import {
  createAddressRedaction,
  createScrub,
  percentDecode,
  secretsOfAddress,
  secretsOfHeader,
  type Scrub,
} from '../base/redact.ts';

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
 * Returns a function that removes the camera's secrets from a text, such as the output of a program: the parts of its
 * address behind the host, its login, also in the base64 of HTTP Basic authentication, and its request headers.
 */
export function createRedactor(
  settings: CredentialSettings & { readonly headers?: Readonly<Record<string, string>> },
): Scrub {
  const { username, password } = resolveCredentials(settings);
  const scrub = createScrub([
    password,
    ...(settings.url === null ? [] : secretsOfAddress(settings.url)),
    ...Object.values(settings.headers ?? {}).flatMap(secretsOfHeader),
    ...(password === '' ? [] : [Buffer.from(`${username}:${password}`).toString('base64')]),
  ]);
  const reduce = createAddressRedaction(settings.url === null ? [] : [settings.url]);
  return (text) => scrub(reduce(text));
}
