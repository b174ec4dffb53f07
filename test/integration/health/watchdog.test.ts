import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { systemClock } from '../../../src/base/clock.ts';
import {
  openNotifySocket,
  Watchdog,
  watchdogIntervalMs,
  type WatchdogDeps,
} from '../../../src/health/watchdog.ts';
import { tempDir } from '../../fixtures/store.ts';

/** Replaces systemd: binds a datagram socket and prints each datagram as one line. */
const RECEIVER = `
import socket, sys
name = sys.argv[1]
s = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
s.bind('\\0' + name[1:] if name.startswith('@') else name)
print('bound', flush=True)
while True:
    print(s.recv(4096).decode(), flush=True)
`;

const ALIVE: WatchdogDeps = { clock: systemClock, stalled: () => [], onStalled: () => undefined };

let dir: ReturnType<typeof tempDir>;
let receiver: ChildProcess | null = null;
const lines: string[] = [];
beforeEach(() => {
  dir = tempDir();
  lines.length = 0;
});
afterEach(() => {
  receiver?.kill('SIGKILL');
  receiver = null;
  dir.remove();
});

async function receive(address: string): Promise<void> {
  const child = spawn('/usr/bin/python3', ['-c', RECEIVER, address], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  receiver = child;
  const output = createInterface({ input: child.stdout });
  output.on('line', (line) => lines.push(line));
  await once(output, 'line');
  lines.length = 0;
}

const seen = (line: string): Promise<boolean> =>
  vi.waitUntil(() => lines.includes(line), { timeout: 60_000, interval: 20 });

describe('Watchdog', () => {
  it.each([
    ['a path', () => join(dir.path, 'notify')],
    ['an abstract name', () => `@swellsight-test-${process.pid}`],
  ])('notifies the service manager on %s', async (_what, address) => {
    await receive(address());
    const stop = new AbortController();
    let parts: readonly string[] = [];
    const reported: unknown[] = [];
    const watchdog = await Watchdog.open(
      { NOTIFY_SOCKET: address(), WATCHDOG_USEC: '200000' },
      { clock: systemClock, stalled: () => parts, onStalled: (stalled) => reported.push(stalled) },
    );
    expect(watchdog).not.toBeNull();
    watchdog?.start(stop.signal);
    await seen('READY=1');
    await vi.waitUntil(() => lines.filter((line) => line === 'WATCHDOG=1').length >= 3, { timeout: 60_000 });
    watchdog?.status('two cameras\nup');
    await seen('STATUS=two cameras up');

    parts = ['scheduler'];
    await new Promise((resolve) => setTimeout(resolve, 150));
    const countBefore = lines.length;
    await new Promise((resolve) => setTimeout(resolve, 400));
    expect(lines.length).toBe(countBefore);
    expect(reported).toEqual([['scheduler']]);

    stop.abort();
    await seen('STOPPING=1');
  });

  it('extends the timeout for a restart inside the process, and does not send STOPPING=1', async () => {
    const address = join(dir.path, 'notify');
    await receive(address);
    const stop = new AbortController();
    const open = () => Watchdog.open({ NOTIFY_SOCKET: address, WATCHDOG_USEC: '60000000' }, ALIVE);
    const watchdog = await open();
    watchdog?.start(stop.signal);
    watchdog?.announceRestart();
    stop.abort();
    await vi.waitUntil(() => lines.filter((line) => line === 'WATCHDOG=1').length >= 2, { timeout: 60_000 });
    await new Promise((resolve) => setTimeout(resolve, 200));
    const started = ['READY=1', 'WATCHDOG_USEC=60000000', 'WATCHDOG=1'];
    const restarts = ['WATCHDOG_USEC=600000000', 'WATCHDOG=1'];
    expect(lines).toEqual([...started, ...restarts]);

    const again = new AbortController();
    (await open())?.start(again.signal);
    await vi.waitUntil(() => lines.length >= 8, { timeout: 60_000 });
    expect(lines).toEqual([...started, ...restarts, ...started]);
    again.abort();
    await seen('STOPPING=1');
  });

  it('is null without a valid NOTIFY_SOCKET', async () => {
    expect(await Watchdog.open({}, ALIVE)).toBeNull();
    expect(await Watchdog.open({ NOTIFY_SOCKET: '' }, ALIVE)).toBeNull();
    expect(await Watchdog.open({ NOTIFY_SOCKET: 'vsock:2:1' }, ALIVE)).toBeNull();
    expect(await Watchdog.open({ NOTIFY_SOCKET: `/${'x'.repeat(200)}` }, ALIVE)).toBeNull();
  });

  it('returns false when nobody listens', async () => {
    const socket = await openNotifySocket(join(dir.path, 'nobody'));
    expect(socket?.send('READY=1')).toBe(false);
    socket?.close();
  });
});

describe('watchdogIntervalMs', () => {
  it('is half the timeout, for this process only', () => {
    expect(watchdogIntervalMs({ WATCHDOG_USEC: '30000000' })).toBe(15_000);
    expect(watchdogIntervalMs({ WATCHDOG_USEC: '30000000', WATCHDOG_PID: '7' }, 7)).toBe(15_000);
    expect(watchdogIntervalMs({ WATCHDOG_USEC: '30000000', WATCHDOG_PID: '8' }, 7)).toBeNull();
    expect(watchdogIntervalMs({})).toBeNull();
    expect(watchdogIntervalMs({ WATCHDOG_USEC: 'soon' })).toBeNull();
    expect(watchdogIntervalMs({ WATCHDOG_USEC: '0' })).toBeNull();
  });
});
