const PORTS: Readonly<Record<string, number>> = {
  mqtt: 1883,
  tcp: 1883,
  mqtts: 8883,
  ssl: 8883,
  ws: 80,
  wss: 443,
};

/** host:port of a broker's address, without credentials; the text `?` where it cannot be read. */
export function brokerName(url: string): string {
  try {
    const { protocol, hostname, port } = new URL(url);
    return `${hostname}:${port === '' ? (PORTS[protocol.slice(0, -1)] ?? '?') : port}`;
  } catch {
    return '?';
  }
}
