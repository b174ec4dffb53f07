import type { Clock } from '../base/clock.ts';

/** Watchdog timeout of systemd during a restart inside the process: a slow board needs minutes to prove its model. */
const RESTART_TIMEOUT_US = 600_000_000;

/** From the environment that systemd gives to the service. */
export interface WatchdogOptions {
  /** Interval of WATCHDOG=1, ms: half the timeout of systemd; null when the watchdog of systemd is off. */
  readonly intervalMs: number | null;
}

export interface WatchdogDeps {
  readonly clock: Clock;
  /** Names of the parts that make no progress; empty while the agent is alive. */
  readonly stalled: () => readonly string[];
  /** Called when `stalled` begins to name parts. */
  readonly onStalled: (parts: readonly string[]) => void;
}

/**
 * Notifies the service manager: READY when the agent is started, WATCHDOG while it is alive, STOPPING when it stops.
 * A blocked main loop sends nothing, and neither does one while a part is stalled: then systemd restarts the service.
 */
export class Watchdog {
  readonly #options: WatchdogOptions;
  readonly #socket: NotifySocket;
  readonly #deps: WatchdogDeps;
  #isRestart = false;
  #wasStalled = false;

  constructor(options: WatchdogOptions, deps: WatchdogDeps & { readonly socket: NotifySocket }) {
    this.#options = options;
    this.#socket = deps.socket;
    this.#deps = deps;
  }

  /** Null when no service manager asked for notifications; then it loads nothing. */
  static async open(
    environment: Readonly<Record<string, string | undefined>>,
    deps: WatchdogDeps,
  ): Promise<Watchdog | null> {
    const address = environment['NOTIFY_SOCKET'];
    if (address === undefined || address === '') return null;
    const socket = await openNotifySocket(address);
    if (socket === null) return null;
    return new Watchdog({ intervalMs: watchdogIntervalMs(environment) }, { ...deps, socket });
  }

  /** Sends READY=1, then WATCHDOG=1 until the signal aborts, then STOPPING=1. */
  start(signal: AbortSignal): void {
    const { intervalMs } = this.#options;
    this.#socket.send('READY=1');
    // A restart inside the process may have set a longer timeout.
    if (intervalMs !== null) this.#socket.send(`WATCHDOG_USEC=${Math.round(intervalMs * 2000)}`);
    void this.#loop(signal);
  }

  /**
   * Call this before a restart inside the process: after STOPPING=1 systemd would kill the process when it does not exit.
   * Until the next `start` nothing feeds the watchdog, so systemd gets a longer timeout.
   */
  announceRestart(): void {
    this.#isRestart = true;
    if (this.#options.intervalMs !== null) this.#socket.send(`WATCHDOG_USEC=${RESTART_TIMEOUT_US}`);
    this.#socket.send('WATCHDOG=1');
  }

  /** Sets the line that `systemctl status` shows. */
  status(text: string): void {
    this.#socket.send(`STATUS=${text.replaceAll('\n', ' ')}`);
  }

  #feed(): void {
    const { stalled, onStalled } = this.#deps;
    const parts = stalled();
    if (parts.length === 0) this.#socket.send('WATCHDOG=1');
    else if (!this.#wasStalled) onStalled(parts);
    this.#wasStalled = parts.length > 0;
  }

  async #loop(signal: AbortSignal): Promise<void> {
    const { intervalMs } = this.#options;
    try {
      while (!signal.aborted) {
        if (intervalMs !== null) this.#feed();
        await this.#deps.clock.sleep(intervalMs ?? 3_600_000, signal);
      }
    } catch {
      // Aborted: the service stops.
    }
    if (!this.#isRestart) this.#socket.send('STOPPING=1');
    this.#socket.close();
  }
}

/** Half the timeout, as sd_watchdog_enabled(3) recommends; null when it is unset or meant for another process. */
export function watchdogIntervalMs(
  environment: Readonly<Record<string, string | undefined>>,
  pid = process.pid,
): number | null {
  const timeoutUs = Number(environment['WATCHDOG_USEC']);
  const targetPid = environment['WATCHDOG_PID'];
  if (!Number.isFinite(timeoutUs) || timeoutUs <= 0) return null;
  if (targetPid !== undefined && Number(targetPid) !== pid) return null;
  return timeoutUs / 2_000;
}

export interface NotifySocket {
  /** Sends one datagram without blocking. Returns false when it was not sent. */
  send(text: string): boolean;
  close(): void;
}

const AF_UNIX = 1;
const SOCK_DGRAM = 2;
const SOCK_CLOEXEC = 0o2000000;
const MSG_DONTWAIT = 0x40;
const MSG_NOSIGNAL = 0x4000;
/** sun_path of struct sockaddr_un. */
const MAX_PATH_BYTES = 108;

/**
 * Opens a Unix datagram socket to the service manager through libc, because Node has none. `address` is the value of
 * NOTIFY_SOCKET: a path, or a name in the abstract namespace with a leading `@`. Null when it cannot be opened.
 * Source: sd_notify(3), unix(7).
 */
export async function openNotifySocket(address: string): Promise<NotifySocket | null> {
  const target = socketAddress(address);
  if (target === null || process.platform !== 'linux') return null;
  const { default: koffi } = await import('koffi');
  const libc = koffi.load(null);
  const socket = libc.func('int socket(int, int, int)') as (...args: number[]) => number;
  const close = libc.func('int close(int)') as (fd: number) => number;
  const sendto = libc.func('long sendto(int, void*, size_t, int, void*, uint32_t)') as (
    fd: number,
    data: Buffer,
    size: number,
    flags: number,
    to: Buffer,
    toSize: number,
  ) => number;
  const fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  if (fd < 0) return null;
  return {
    send: (text) => {
      const data = Buffer.from(text);
      return (
        sendto(fd, data, data.length, MSG_DONTWAIT | MSG_NOSIGNAL, target, target.length) === data.length
      );
    },
    close: () => void close(fd),
  };
}

/** A `struct sockaddr_un` of exact length: in an abstract name every byte is significant. */
function socketAddress(address: string): Buffer | null {
  if (!/^[/@]./.test(address)) return null;
  const path = address.startsWith('@') ? Buffer.from(`\0${address.slice(1)}`) : Buffer.from(`${address}\0`);
  if (path.length > MAX_PATH_BYTES) return null;
  const family = Buffer.alloc(2);
  if (new Uint8Array(new Uint16Array([AF_UNIX]).buffer)[0] === AF_UNIX) family.writeUInt16LE(AF_UNIX);
  else family.writeUInt16BE(AF_UNIX);
  return Buffer.concat([family, path]);
}
