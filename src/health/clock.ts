import { execFile } from 'node:child_process';
import { stat } from 'node:fs/promises';
import type { Clock } from '../base/clock.ts';
import { openAdjtimex } from './adjtimex.ts';
import { readText } from '../base/read-file.ts';
import type { ClockState } from './types.ts';

/** systemd-timesyncd touches it whenever it has set the clock. */
const TIMESYNCD_FLAG = '/run/systemd/timesync/synchronized';
const SAMPLE_MS = 5_000;
/** NTP slews below half a second and steps above; a leap second is no step worth correcting records for. */
const STEP_MS = 1_500;
const TIMEDATECTL_EVERY_MS = 10 * 60_000;
/** Before the first good answer: records are marked as long as it is not there. */
const TIMEDATECTL_SOON_MS = 2 * 60_000;
const TIMEDATECTL_TIMEOUT_MS = 5_000;

/** Two readings further apart than this say nothing of each other. */
const SAME_MOMENT_MS = 200;

/** Moves of the wall clock against the monotonic one, ms; positive is forward. */
export type StepListener = (deltaMs: number) => void;

/** The clock that goes on while the machine sleeps, as the monotonic one does not, ms; null where there is none. */
export type BootClock = () => Promise<number | null>;

const readBootClock: BootClock = async () => {
  const uptimeS = Number.parseFloat((await readText('/proc/uptime')) ?? '');
  return Number.isFinite(uptimeS) ? uptimeS * 1000 : null;
};

/**
 * Says whether the wall clock can be believed, and when it jumps. The kernel is asked where that is possible; else
 * the file of systemd-timesyncd; else, rarely, `timedatectl`.
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
  /** Time asleep since the machine booted, and an offset that does not matter. */
  #asleepMs: number | null = null;
  #askedMonoMs: number | null = null;
  #toldSynced = false;

  constructor(deps: {
    clock: Clock;
    onStep: StepListener;
    /** The clock came to be synchronised, or was so at the first look. Told after a step. */
    onSynced?: () => void;
    /** The machine was asleep: the wall clock went on, the monotonic one did not. Told before a step. */
    onSlept?: (sleptMs: number) => void;
    bootClock?: BootClock;
    /** The kernel's answer; null where it cannot be asked. */
    kernel?: () => ClockState | null;
    /** File whose being there means synchronised. */
    flag?: string;
    /** The program that is asked where neither of them tells. */
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

  /** Takes the first sample, so that `state` is true from then on; then samples until the signal aborts. */
  async start(signal: AbortSignal): Promise<void> {
    this.#readKernel ??= await openAdjtimex();
    await this.sample();
    void this.#loop(signal);
  }

  async #loop(signal: AbortSignal): Promise<void> {
    while (!signal.aborted) {
      try {
        await this.#clock.sleep(SAMPLE_MS, signal);
      } catch {
        return;
      }
      await this.sample();
    }
  }

  /** One look at the clock. The step is told after the state, so that a listener sees whether the new time is right. */
  async sample(): Promise<void> {
    const sleptMs = await this.#slept();
    const differenceMs = this.#clock.nowMs() - this.#clock.monoMs();
    const deltaMs = this.#differenceMs === null ? 0 : differenceMs - this.#differenceMs - sleptMs;
    this.#differenceMs = differenceMs;
    const before = this.#state;
    this.#state = this.#readKernel?.() ?? (await this.#fromSystemd());
    if (sleptMs > 0) this.#onSlept(sleptMs);
    if (Math.abs(deltaMs) >= STEP_MS) this.#onStep(Math.round(deltaMs));
    if (this.#state.synced && !before.synced) this.#onSynced();
  }

  /** How long the machine slept since the last look; 0 when that cannot be told. */
  async #slept(): Promise<number> {
    const beforeMs = this.#clock.monoMs();
    const bootMs = await this.#bootClock();
    const monoMs = this.#clock.monoMs();
    if (bootMs === null || monoMs - beforeMs > SAME_MOMENT_MS) return 0;
    const known = this.#asleepMs;
    this.#asleepMs = bootMs - monoMs;
    const sleptMs = known === null ? 0 : this.#asleepMs - known;
    return sleptMs >= STEP_MS ? sleptMs : 0;
  }

  async #fromSystemd(): Promise<ClockState> {
    const flagged = await stat(this.#flag).then(
      () => true,
      () => false,
    );
    if (!flagged) this.#askTimedatectl();
    return { synced: flagged || this.#toldSynced, offsetMs: null };
  }

  /** Nobody waits for the answer, which may need a service to be started: the next sample knows it. */
  #askTimedatectl(): void {
    const monoMs = this.#clock.monoMs();
    const everyMs = this.#toldSynced ? TIMEDATECTL_EVERY_MS : TIMEDATECTL_SOON_MS;
    if (this.#askedMonoMs !== null && monoMs - this.#askedMonoMs < everyMs) return;
    this.#askedMonoMs = monoMs;
    execFile(
      this.#timedatectl,
      ['show', '--property=NTPSynchronized', '--value'],
      { timeout: TIMEDATECTL_TIMEOUT_MS, killSignal: 'SIGKILL' },
      (error, stdout) => {
        this.#toldSynced = error === null && stdout.trim() === 'yes';
      },
    );
  }
}
