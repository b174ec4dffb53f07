/** One entry of a list of allowed hosts, as `parseHostPattern` reads it. */
export interface HostPattern {
  /** Lower case, in ASCII; of an IPv6 address with brackets. */
  readonly name: string;
  /** True for `*.name`: every name below `name`, but not `name` itself. */
  readonly isWildcard: boolean;
  /** Null: any port. */
  readonly port: string | null;
}

const LOOPBACK_NAME = /^(localhost|127\.\d{1,3}\.\d{1,3}\.\d{1,3}|\[::1\])(:\d{1,5})?$/i;

/** True when the value of a Host header is a name of this machine. */
export const isLoopbackHeader = (header: string): boolean => LOOPBACK_NAME.test(header);

/** Top-level names that no one can register, so that `*.local` is not open to everybody. */
const PRIVATE_TOP_LEVEL = /^(local|internal|lan|home\.arpa)$/;

/**
 * Reads `name`, `name:port`, `*.name` or `*.name:port`. Null for anything else, such as an address with a scheme, `*`
 * alone, or `*.com`: such a pattern would allow every page of the internet.
 */
export function parseHostPattern(text: string): HostPattern | null {
  const isWildcard = text.startsWith('*.');
  const [, host = '', port = null] =
    /^([^\s/?#@*:,;]+|\[[0-9a-f:.]+\])(?::(\d{1,5}))?$/i.exec(isWildcard ? text.slice(2) : text) ?? [];
  const name = URL.parse(`http://${host}`)?.hostname.replace(/\.$/, '') ?? '';
  if (host === '' || name === '' || (port !== null && Number(port) > 65_535)) return null;
  if (isWildcard && !PRIVATE_TOP_LEVEL.test(name) && !/^(?!\d+\.\d+)[^[]+\.[^.]+$/.test(name)) return null;
  return { name, isWildcard, port };
}

/** True when the value of a Host header, `name` or `name:port`, matches one of the patterns. */
export function matchesHost(header: string, patterns: readonly HostPattern[]): boolean {
  const [, host = '', port = null] = /^(\[[^\]]+\]|[^:]+)(?::(\d{1,5}))?$/.exec(header) ?? [];
  const name = host.toLowerCase().replace(/\.$/, '');
  return patterns.some(
    (pattern) =>
      (pattern.isWildcard ? name.endsWith(`.${pattern.name}`) : name === pattern.name) &&
      (pattern.port === null || pattern.port === port),
  );
}
