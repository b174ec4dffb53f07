import { execFile } from 'node:child_process';
import { stat } from 'node:fs/promises';
import { childEnvironment } from '../base/child-environment.ts';
import type { Clock } from '../base/clock.ts';
import { readText } from '../base/read-file.ts';
import type { ClockState } from './types.ts';

/** systemd-timesyncd creates this file when it has set the clock. */
const TIMESYNCD_FLAG = '/run/systemd/timesync/synchronized';
const SAMPLE_INTERVAL_MS = 5_000;
/** NTP slews an offset below half a second and steps a larger one. A leap second must not count as a step. */
const MIN_STEP_MS = 1_500;
const TIMEDATECTL_INTERVAL_MS = 10 * 60_000;
/** Shorter while the clock is not synchronised, because all records are marked until then. */
const TIMEDATECTL_UNSYNCED_INTERVAL_MS = 2 * 60_000;
const TIMEDATECTL_TIMEOUT_MS = 5_000;

/** Two clock readings that are further apart cannot be compared. */
const MAX_READ_DURATION_MS = 200;

/** Receives a step of the wall clock against the monotonic clock, ms; positive is forward. */
export type StepListener = (deltaMs: number) => void;

/** The time since boot including suspended time, ms, which the monotonic clock does not count; null where it is not available. */
export type BootClock = () => Promise<number | null>;

const readBootClock: BootClock = async () => {
  const uptimeS = Number.parseFloat((await readText('/proc/uptime')) ?? '');
  return Number.isFinite(uptimeS) ? uptimeS * 1000 : null;
};

/**
 * Reports whether the wall clock is synchronised, and when it steps. The source is the kernel; where the kernel cannot be
 * asked, the file of systemd-timesyncd; without that file, `timedatectl`, which runs rarely.
 */
export class ClockSync {
  readonly #clock: Clock;
  readonly #onStep: StepListener;
  readonly #onSynced: () => void;
  readonly #onSlept: (sleptMs: number) => void;
  readonly #bootClock: BootClock;
  readonly #flag: string;
  readonly #timedatectl: string;
  #readKernel: (() => ClockState | null) | null = null;
  #state: ClockState = { synced: false, offsetMs: null };
  /** Wall minus monotonic. */
  #differenceMs: number | null = null;
  /** Suspended time since boot, plus a constant offset. */
  #asleepMs: number | null = null;
  #timedatectlMonoMs: number | null = null;
  #timedatectlSynced = false;

  constructor(deps: {
    clock: Clock;
    onStep: StepListener;
    /** The clock became synchronised, or was synchronised at the first sample. Called after `onStep`. */
    onSynced?: () => void;
    /** The machine was suspended: the wall clock advanced, the monotonic clock did not. Called before `onStep`. */
    onSlept?: (sleptMs: number) => void;
    bootClock?: BootClock;
    /** The kernel's clock state; null where the kernel cannot be asked. */
    kernel?: () => ClockState | null;
    /** The clock is synchronised when this file exists. */
    flag?: string;
    /** Program to run when neither the kernel nor the file reports synchronisation. */
    timedatectl?: string;
  }) {
    this.#clock = deps.clock;
    this.#onStep = deps.onStep;
    this.#onSynced = deps.onSynced ?? (() => undefined);
    this.#onSlept = deps.onSlept ?? (() => undefined);
    this.#bootClock = deps.bootClock ?? readBootClock;
    this.#readKernel = deps.kernel ?? null;
    this.#flag = deps.flag ?? TIMESYNCD_FLAG;
    this.#timedatectl = deps.timedatectl ?? 'timedatectl';
  }

  /** As of the last sample, at most 5 s old. */
  state(): ClockState {
    return this.#state;
  }

  /** Takes the first sample, so that `state` is valid afterwards. Continues to sample until the signal aborts. */
  async start(signal: AbortSignal): Promise<void> {
    this.#readKernel ??= await openAdjtimex();
    await this.sample();
    void this.#loop(signal);
  }

  async #loop(signal: AbortSignal): Promise<void> {
    while (!signal.aborted) {
      try {
        await this.#clock.sleep(SAMPLE_INTERVAL_MS, signal);
      } catch {
        return;
      }
      await this.sample();
    }
  }

  /** Reads the clocks once. Updates the state before it calls `onStep`, so that the listener sees whether the new time is right. */
  async sample(): Promise<void> {
    const sleptMs = await this.#readSuspendedMs();
    const differenceMs = this.#clock.nowMs() - this.#clock.monoMs();
    const deltaMs = this.#differenceMs === null ? 0 : differenceMs - this.#differenceMs - sleptMs;
    this.#differenceMs = differenceMs;
    const before = this.#state;
    this.#state = this.#readKernel?.() ?? (await this.#readSystemd());
    if (sleptMs > 0) this.#onSlept(sleptMs);
    if (Math.abs(deltaMs) >= MIN_STEP_MS) this.#onStep(Math.round(deltaMs));
    if (this.#state.synced && !before.synced) this.#onSynced();
  }

  /** Suspended time since the last sample, ms; 0 when it is unknown. */
  async #readSuspendedMs(): Promise<number> {
    const beforeMs = this.#clock.monoMs();
    const bootMs = await this.#bootClock();
    const monoMs = this.#clock.monoMs();
    if (bootMs === null || monoMs - beforeMs > MAX_READ_DURATION_MS) return 0;
    const known = this.#asleepMs;
    this.#asleepMs = bootMs - monoMs;
    const sleptMs = known === null ? 0 : this.#asleepMs - known;
    return sleptMs >= MIN_STEP_MS ? sleptMs : 0;
  }

  async #readSystemd(): Promise<ClockState> {
    const hasFlag = await stat(this.#flag).then(
      () => true,
      () => false,
    );
    if (!hasFlag) this.#runTimedatectl();
    return { synced: hasFlag || this.#timedatectlSynced, offsetMs: null };
  }

  /** Does not wait for the result, because systemd may have to start a service first. The next sample uses it. */
  #runTimedatectl(): void {
    const monoMs = this.#clock.monoMs();
    const intervalMs = this.#timedatectlSynced ? TIMEDATECTL_INTERVAL_MS : TIMEDATECTL_UNSYNCED_INTERVAL_MS;
    if (this.#timedatectlMonoMs !== null && monoMs - this.#timedatectlMonoMs < intervalMs) return;
    this.#timedatectlMonoMs = monoMs;
    execFile(
      this.#timedatectl,
      ['show', '--property=NTPSynchronized', '--value'],
      {
        env: childEnvironment(process.env, 'program'),
        timeout: TIMEDATECTL_TIMEOUT_MS,
        killSignal: 'SIGKILL',
      },
      (error, stdout) => {
        this.#timedatectlSynced = error === null && stdout.trim() === 'yes';
      },
    );
  }
}

const STA_UNSYNC = 0x0040;
const STA_NANO = 0x2000;
/** Size of `struct timex` when `long` has 8 bytes. */
const TIMEX_BYTES = 208;
/** The maximum error that the kernel reports for a clock without a time source (NTP_PHASE_LIMIT), microseconds. */
const UNKNOWN_ERROR_US = 16_000_000n;

/**
 * Returns a function that asks the kernel whether its clock is synchronised. It works with chrony, ntpd, systemd-timesyncd
 * and PTP, also in a container, and needs no privileges.
 * Resolves to null where the call is not possible: 32 bit, another system, a seccomp filter.
 * Source: adjtimex(2); layout of struct timex in include/uapi/linux/timex.h.
 */
export async function openAdjtimex(): Promise<(() => ClockState | null) | null> {
  if (process.platform !== 'linux' || !['x64', 'arm64', 'riscv64', 'loong64'].includes(process.arch))
    return null;
  try {
    const { default: koffi } = await import('koffi');
    const adjtimex = koffi.load(null).func('int adjtimex(void *timex)') as (timex: Buffer) => number;
    const read = (): ClockState | null => {
      const timex = Buffer.alloc(TIMEX_BYTES);
      // -1 is an error; 5 (TIME_ERROR) repeats that the clock is not synchronised.
      return adjtimex(timex) === -1 ? null : parseTimex(timex);
    };
    return read() === null ? null : read;
  } catch {
    return null;
  }
}

/** The clock state in a little-endian `struct timex` of 64 bits. */
export function parseTimex(timex: Buffer): ClockState {
  const status = timex.readInt32LE(40);
  const maxErrorUs = timex.readBigInt64LE(24);
  // chrony without `rtcsync` does not clear STA_UNSYNC, but like every time source it sets the maximum error.
  const isSynced = (status & STA_UNSYNC) === 0 || (maxErrorUs >= 0n && maxErrorUs < UNKNOWN_ERROR_US);
  if (!isSynced) return { synced: false, offsetMs: null };
  const perMs = (status & STA_NANO) !== 0 ? 1e6 : 1e3;
  return { synced: true, offsetMs: Number(timex.readBigInt64LE(8)) / perMs };
}
