import { percentDecode } from '../base/redact.ts';

export interface BrokerLogin {
  /** The address without user and password. */
  readonly url: string;
  readonly username: string | null;
  readonly password: string | null;
}

/**
 * Separates the user and the password from the address of a broker. They are decoded after they are split, so that each may
 * contain `:` and `@` in percent-encoding. They take the place of `others`, the settings for addresses without a user.
 */
export function brokerLogin(
  address: string,
  others: { readonly username: string | null; readonly password: string | null },
): BrokerLogin {
  const url = URL.parse(address);
  if (!url || (url.username === '' && url.password === '')) return { url: address, ...others };
  const [username, password] = [url.username, url.password].map((text) =>
    text === '' ? null : percentDecode(text),
  ) as [string | null, string | null];
  url.username = '';
  url.password = '';
  return { url: url.href, username, password };
}
