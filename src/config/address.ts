import { portOrDefault } from '../base/default-port.ts';
import { isLoopback } from './schema.ts';

/** An address of a camera or a broker, written in one way. */
interface Address {
  readonly scheme: string;
  /** Lower case, without a dot at its end; an IPv4 address also when it was written as IPv6. */
  readonly host: string;
  readonly port: string;
  /** Path and query. */
  readonly path: string;
}

function parseAddress(value: unknown): Address | null {
  const url = typeof value === 'string' ? URL.parse(value) : null;
  // URL writes a host in one way only for http: of rtsp and mqtt it keeps `CAM`, `0x7f.1` and `cam%2e`.
  const host = url && url.hostname !== '' ? URL.parse(`http://${url.hostname}`)?.hostname : undefined;
  if (!url || host === undefined) return null;
  return {
    scheme: url.protocol,
    host: toIPv4(host.replace(/\.$/, '')),
    port: String(portOrDefault(url) ?? ''),
    path: `${url.pathname === '' ? '/' : url.pathname}${url.search}`,
  };
}

/** An IPv4-mapped IPv6 address, such as `[::ffff:7f00:1]`, as IPv4 address. */
function toIPv4(host: string): string {
  const [, high, low] = /^\[::ffff:([0-9a-f]{1,4}):([0-9a-f]{1,4})\]$/.exec(host) ?? [];
  if (high === undefined || low === undefined) return host;
  return [high, low]
    .map((group) => Number.parseInt(group, 16))
    .flatMap((group) => [group >> 8, group & 0xff])
    .join('.');
}

/** Whether two addresses are the same: scheme, host, port, path and query. A login in them does not matter. */
export function isSameAddress(a: unknown, b: unknown): boolean {
  const [one, other] = [parseAddress(a), parseAddress(b)];
  return (
    one !== null &&
    other !== null &&
    (['scheme', 'host', 'port', 'path'] as const).every((key) => one[key] === other[key])
  );
}

/** Whether two addresses name the same host. All names of this machine are the same. */
export function isSameHost(a: unknown, b: unknown): boolean {
  const [one, other] = [a, b].map((value) => {
    const host = parseAddress(value)?.host;
    return host !== undefined && (isLoopback(host) || host === '0.0.0.0' || host === '[::]')
      ? 'localhost'
      : host;
  });
  return one !== undefined && one === other;
}

/** `host:port` of an address; null for a text that is no address. */
export function hostAndPort(value: unknown): string | null {
  const address = parseAddress(value);
  return address && `${address.host}:${address.port}`;
}
