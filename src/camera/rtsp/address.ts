const DEFAULT_PORTS: Readonly<Record<string, number>> = { 'rtsp:': 554, 'rtsps:': 322 };

export const isRtspAddress = ({ protocol, hostname }: URL): boolean =>
  protocol in DEFAULT_PORTS && hostname !== '';

/** The port of the address, or that of its scheme. */
export const portOf = ({ protocol, port }: URL): number => Number(port) || (DEFAULT_PORTS[protocol] ?? 554);

/** True for the same scheme, host and port. `URL` knows neither the default ports of RTSP nor the case of its hosts. */
export const isSameOrigin = (a: URL, b: URL): boolean =>
  a.protocol === b.protocol &&
  a.hostname.toLowerCase() === b.hostname.toLowerCase() &&
  portOf(a) === portOf(b);
