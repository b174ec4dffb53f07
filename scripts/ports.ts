import { randomInt } from 'node:crypto';
import { once } from 'node:events';
import { connect, createServer } from 'node:net';

/** Below the ports that Linux gives to outgoing connections. */
const LISTENERS = { from: 12_000, to: 30_000 };

/**
 * A port of 127.0.0.1 that was free a moment ago. Not one that an outgoing connection could get while the listener
 * is away: a client that tries again and again to reach it might even meet itself there.
 */
export async function freePort(): Promise<number> {
  for (;;) {
    const port = randomInt(LISTENERS.from, LISTENERS.to);
    const server = createServer();
    const free = await new Promise<boolean>((resolve) => {
      server.once('error', () => resolve(false));
      server.listen(port, '127.0.0.1', () => resolve(true));
    });
    if (!free) continue;
    server.close();
    await once(server, 'close');
    return port;
  }
}

export function canConnect(port: number, host = '127.0.0.1'): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(port, host);
    socket.once('connect', () => {
      socket.destroy();
      resolve(true);
    });
    socket.once('error', () => resolve(false));
  });
}
