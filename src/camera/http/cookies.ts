const MAX_COOKIES = 20;
const MAX_COOKIE_CHARS = 4096;
/** Only what a header may contain; no character that ends the cookie (RFC 6265, section 4.1.1). */
const COOKIE = /^\s*([\w!#$%&'*+.^`|~-]+)=([\x21-\x3a\x3c-\x7e]*)/;

/** The cookies of the servers of one stream, some of which give segments only to a session. Each origin gets its own alone. */
export class CookieJar {
  readonly #byOrigin = new Map<string, Map<string, string>>();

  /** The value of the `Cookie` header; null without cookies. */
  headerFor(url: URL): string | null {
    const cookies = this.#byOrigin.get(url.origin);
    return cookies ? [...cookies].map(([name, value]) => `${name}=${value}`).join('; ') : null;
  }

  /** Takes the `Set-Cookie` headers of an answer. The oldest cookie makes room for a new one. */
  store(url: URL, headers: readonly string[]): void {
    for (const header of headers) {
      const [, name, value] = COOKIE.exec(header.slice(0, MAX_COOKIE_CHARS)) ?? [];
      if (name === undefined || value === undefined) continue;
      const cookies = this.#byOrigin.get(url.origin) ?? new Map<string, string>();
      if (cookies.size >= MAX_COOKIES) cookies.delete(cookies.keys().next().value ?? '');
      if (this.#byOrigin.size >= MAX_COOKIES && !this.#byOrigin.has(url.origin)) this.#byOrigin.clear();
      this.#byOrigin.set(url.origin, cookies.set(name, value));
    }
  }
}
