import { randomInt } from 'node:crypto';
import { once } from 'node:events';
import { connect, createServer } from 'node:net';
import { setTimeout as delay } from 'node:timers/promises';

/** Waits so long, or less when the signal fires. */
export async function pause(ms: number, signal?: AbortSignal): Promise<void> {
  await delay(ms, undefined, signal ? { signal } : {}).catch(() => undefined);
}

/** Asked anew each time: the compiler takes a flag that it has seen for one that stays. */
export function isOver(signal: AbortSignal): boolean {
  return signal.aborted;
}

/** True as soon as the test holds; false when it did not in time. */
export async function until(
  test: () => boolean | Promise<boolean>,
  withinMs: number,
  everyMs = 25,
): Promise<boolean> {
  const endMs = performance.now() + withinMs;
  for (;;) {
    if (await test()) return true;
    if (performance.now() > endMs) return false;
    await delay(everyMs);
  }
}

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

export function canConnect(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(port, '127.0.0.1');
    socket.once('connect', () => {
      socket.destroy();
      resolve(true);
    });
    socket.once('error', () => resolve(false));
  });
}
