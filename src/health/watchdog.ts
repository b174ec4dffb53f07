import type { Clock } from '../base/clock.ts';
import { openNotifySocket, type NotifySocket } from './notify-socket.ts';

/** What systemd set in the environment of the service. */
export interface WatchdogOptions {
  /** How often WATCHDOG=1 is due, ms: half of what systemd waits; null when it does not watch. */
  readonly intervalMs: number | null;
}

/**
 * Talks to the service manager: READY when the agent serves, WATCHDOG while it is alive, STOPPING when it ends.
 * A main loop that stands still sends nothing, and neither does one whose `isAlive` says no: then systemd restarts
 * the service.
 */
export class Watchdog {
  readonly #options: WatchdogOptions;
  readonly #socket: NotifySocket;
  readonly #clock: Clock;
  readonly #isAlive: () => boolean;
  #isRestart = false;

  constructor(
    options: WatchdogOptions,
    deps: { socket: NotifySocket; clock: Clock; isAlive: () => boolean },
  ) {
    this.#options = options;
    this.#socket = deps.socket;
    this.#clock = deps.clock;
    this.#isAlive = deps.isAlive;
  }

  /** Null, without loading anything, unless a service manager asked to be told. */
  static async open(
    environment: Readonly<Record<string, string | undefined>>,
    deps: { clock: Clock; isAlive: () => boolean },
  ): Promise<Watchdog | null> {
    const address = environment['NOTIFY_SOCKET'];
    if (address === undefined || address === '') return null;
    const socket = await openNotifySocket(address);
    if (socket === null) return null;
    return new Watchdog({ intervalMs: watchdogIntervalMs(environment) }, { ...deps, socket });
  }

  /** READY=1; then WATCHDOG=1 until the signal aborts, then STOPPING=1. */
  start(signal: AbortSignal): void {
    this.#socket.send('READY=1');
    void this.#loop(signal);
  }

  /** The next stop is followed by a start: the service manager must not be told of a stop, because it would enforce it. */
  announceRestart(): void {
    this.#isRestart = true;
    this.#socket.send('WATCHDOG=1');
  }

  /** One line for `systemctl status`. */
  status(text: string): void {
    this.#socket.send(`STATUS=${text.replaceAll('\n', ' ')}`);
  }

  async #loop(signal: AbortSignal): Promise<void> {
    const { intervalMs } = this.#options;
    try {
      while (!signal.aborted) {
        if (intervalMs !== null && this.#isAlive()) this.#socket.send('WATCHDOG=1');
        await this.#clock.sleep(intervalMs ?? 3_600_000, signal);
      }
    } catch {
      // Aborted: the service stops.
    }
    if (!this.#isRestart) this.#socket.send('STOPPING=1');
    this.#socket.close();
  }
}

/** Half the time-out, as sd_watchdog_enabled(3) advises; null when unset or meant for another process. */
export function watchdogIntervalMs(
  environment: Readonly<Record<string, string | undefined>>,
  pid = process.pid,
): number | null {
  const timeoutUs = Number(environment['WATCHDOG_USEC']);
  const meantFor = environment['WATCHDOG_PID'];
  if (!Number.isFinite(timeoutUs) || timeoutUs <= 0) return null;
  if (meantFor !== undefined && Number(meantFor) !== pid) return null;
  return timeoutUs / 2_000;
}
