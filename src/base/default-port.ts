/** By the protocol of a `URL`. Sources: RFC 9110, RFC 6455, RFC 2326 with the registry of IANA, MQTT 5.0 section 4.2. */
const DEFAULT_PORTS: Readonly<Record<string, number>> = {
  'http:': 80,
  'https:': 443,
  'ws:': 80,
  'wss:': 443,
  'rtsp:': 554,
  'rtsps:': 322,
  'mqtt:': 1883,
  'tcp:': 1883,
  'mqtts:': 8883,
  'ssl:': 8883,
};

/** The port of an address, or that of its scheme; null when neither is known. `URL` knows the ports of http and ws only. */
export const portOrDefault = ({ protocol, port }: URL): number | null =>
  port === '' ? (DEFAULT_PORTS[protocol] ?? null) : Number(port);
