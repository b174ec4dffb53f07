import type { Clock } from '../../base/clock.ts';
import type { RaiseEvent } from '../../store/types.ts';
import { readTemperature } from '../machine.ts';
import type { BoardState, CaptureSlowdown } from '../types.ts';
import { Debounced } from './debounced.ts';
import { readEmmcWear, type EmmcWear } from './emmc-wear.ts';
import { readPowerSignals, type PowerSignals } from './power-signals.ts';
import { SlowdownRule, type BoardStress } from './slowdown-rule.ts';

export interface BoardMonitorDeps {
  readonly clock: Clock;
  readonly raise: RaiseEvent;
  /** Present settings: the largest factor of the interval between observations, 1 to leave out none. */
  readonly limits: () => { readonly maxSlowdown: number };
  /** Directory that contains /proc and /sys; `/` except in tests. */
  readonly root?: string;
}

const SAMPLE_INTERVAL_MS = 5_000;
/** The voltage alarm of a Raspberry Pi 5 chatters: it is on in a tenth of the samples at 4.79 V, for at most some seconds. */
const VOLTAGE_DEBOUNCE = { onAfterMs: 10_000, offAfterMs: 60_000 };
const HEAT_DEBOUNCE = { onAfterMs: 20_000, offAfterMs: 0 };
/** Stress by heat ends this much below the temperature at which it begins. */
const HYSTERESIS_C = 5;
/** An over-current event counts as throttling for this time. */
const OVER_CURRENT_MS = 60_000;
const HOUR_MS = 3_600_000;

/** Watches heat, power supply and wear of the board, and derives how often cameras may observe. */
export class BoardMonitor {
  readonly #deps: BoardMonitorDeps;
  readonly #root: string;
  readonly #underVoltage = new Debounced(VOLTAGE_DEBOUNCE);
  readonly #heat = new Debounced(HEAT_DEBOUNCE);
  readonly #rule = new SlowdownRule();
  /** Over-current events of the last hour: when each rise of the counter was seen. */
  #overCurrent: { monoMs: number; events: number }[] = [];
  #lastOverCurrentCount: number | null = null;
  #wear: Promise<EmmcWear> | null = null;

  constructor(deps: BoardMonitorDeps) {
    this.#deps = deps;
    this.#root = deps.root ?? '/';
  }

  /** How much less often cameras with an interval schedule observe at present. */
  readonly slowdown = (): CaptureSlowdown => this.#rule.state;

  /** Samples every five seconds until the signal aborts. */
  async run(signal: AbortSignal): Promise<void> {
    try {
      for (;;) {
        await this.sample();
        await this.#deps.clock.sleep(SAMPLE_INTERVAL_MS, signal);
      }
    } catch (thrown) {
      if (!signal.aborted) throw thrown;
    }
  }

  /** Reads the board now. Never rejects. */
  async sample(): Promise<BoardState> {
    const [temperature, signals, wear] = await Promise.all([
      readTemperature(this.#root),
      readPowerSignals(this.#root),
      // The kernel reads the wear when it finds the device, and not again.
      (this.#wear ??= readEmmcWear(this.#root)),
    ]);
    const monoMs = this.#deps.clock.monoMs();
    this.#countOverCurrent(signals.overCurrentEvents, monoMs);
    const isLow = this.#underVoltage.add(signals.underVoltage === true, monoMs);
    const sinceOverCurrentMs = monoMs - (this.#overCurrent.at(-1)?.monoMs ?? -Infinity);
    const hasOverCurrent = sinceOverCurrentMs < OVER_CURRENT_MS;
    const stress = this.#stress(temperature, signals, isLow || hasOverCurrent, monoMs);
    this.#updateSlowdown(stress, monoMs);
    return {
      tempC: temperature?.tempC ?? null,
      throttled: isReported(signals) ? signals.throttled === true || isLow || hasOverCurrent : null,
      underVoltage: signals.underVoltage === null ? null : isLow,
      hotSurface: signals.hotSurface,
      overCurrent1h:
        signals.overCurrentEvents === null
          ? null
          : this.#overCurrent.reduce((sum, { events }) => sum + events, 0),
      ...wear,
      slowdown: this.#rule.state,
    };
  }

  #stress(
    temperature: { readonly tempC: number; readonly hotC: number } | null,
    { tooHot, hotSurface }: PowerSignals,
    isLowPower: boolean,
    monoMs: number,
  ): BoardStress {
    const { tempC, hotC } = temperature ?? { tempC: -Infinity, hotC: 0 };
    const isHot = tooHot === true || hotSurface === true || tempC >= hotC;
    if (this.#heat.add(isHot, monoMs)) return 'heat';
    if (isLowPower) return 'low_power';
    return isHot || this.#underVoltage.isOn || tempC > hotC - HYSTERESIS_C ? 'warm' : 'calm';
  }

  #updateSlowdown(stress: BoardStress, monoMs: number): void {
    const before = this.#rule.state;
    const now = this.#rule.update(stress, this.#deps.limits().maxSlowdown, monoMs);
    const hasBegun = before.factor === 1 && now.factor > 1;
    if (!hasBegun && !(before.factor > 1 && now.factor === 1)) return;
    const reason = hasBegun ? now.reason : before.reason;
    this.#deps.raise({
      type: 'capture_slowdown',
      severity: hasBegun ? 'warning' : 'info',
      code: hasBegun ? (reason ?? 'heat') : 'ended',
      message: hasBegun
        ? `Cameras observe less often because of ${reason === 'low_power' ? 'low power' : 'heat'}.`
        : 'Cameras observe at their intervals again.',
      context: { factor: now.factor, reason },
    });
  }

  #countOverCurrent(count: number | null, monoMs: number): void {
    this.#overCurrent = this.#overCurrent.filter((rise) => monoMs - rise.monoMs < HOUR_MS);
    if (count === null) return;
    const events = count - (this.#lastOverCurrentCount ?? count);
    if (events > 0) this.#overCurrent.push({ monoMs, events });
    this.#lastOverCurrentCount = count;
  }
}

const isReported = ({ underVoltage, throttled, overCurrentEvents }: PowerSignals): boolean =>
  underVoltage !== null || throttled !== null || overCurrentEvents !== null;
