import { portOrDefault } from '../../base/default-port.ts';

export const isRtspAddress = ({ protocol, hostname }: URL): boolean =>
  /^rtsps?:$/.test(protocol) && hostname !== '';

/** The port of the address, or that of its scheme. */
export const portOf = (url: URL): number => portOrDefault(url) || 554;

/** True for the same scheme, host and port. `URL` knows neither the default ports of RTSP nor the case of its hosts. */
export const isSameOrigin = (a: URL, b: URL): boolean =>
  a.protocol === b.protocol &&
  a.hostname.toLowerCase() === b.hostname.toLowerCase() &&
  portOf(a) === portOf(b);
