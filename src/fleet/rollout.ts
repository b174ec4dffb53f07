import { createHash, randomUUID } from 'node:crypto';
import { updateIdOf } from '../contract/model.ts';
import type { ModelState } from '../contract/states.ts';

export type DevicePhase = 'waiting' | 'sent' | 'installing' | 'probation' | 'committed' | 'failed';

/** How far one device has come. */
export interface DeviceProgress {
  readonly phase: DevicePhase;
  /** The install's phase as the device tells it, or the code of what refused it. */
  readonly detail: string | null;
  readonly percent: number | null;
}

/** What is stored of a rollout, so that it can go on later and be run twice. */
export interface RolloutFile {
  readonly format: 1;
  readonly id: string;
  readonly name: string;
  readonly version: string;
  /** The pattern that its devices fitted. */
  readonly to: string;
  /** In the order in which they are served, as they were found at the beginning. */
  readonly devices: Readonly<Record<string, DeviceProgress>>;
  readonly halted: boolean;
}

export interface RolloutPlan {
  /** Devices of the first wave. */
  readonly canaries: number;
  /** Size of the others, % of all devices. */
  readonly batchPct: number;
  /** Failures, % of the devices that were begun, above which nothing more is begun. */
  readonly haltOnPct: number;
}

/** What a device answers or tells of its install. */
export type Told =
  | { readonly kind: 'accepted' }
  | { readonly kind: 'failed'; readonly code: string }
  | { readonly kind: 'state'; readonly state: ModelState };

const NEW: DeviceProgress = { phase: 'waiting', detail: null, percent: null };

export const newRollout = (
  { name, version, to }: Pick<RolloutFile, 'name' | 'version' | 'to'>,
  devices: readonly string[],
): RolloutFile => ({
  format: 1,
  id: randomUUID(),
  name,
  version,
  to,
  devices: Object.fromEntries(devices.map((device) => [device, NEW])),
  halted: false,
});

/** The same for the same rollout and device, so that a device never runs it twice. */
export const commandIdOf = ({ id }: RolloutFile, device: string): string =>
  `push-${id}-${createHash('sha256').update(device).digest('hex').slice(0, 12)}`;

const ended = ({ phase }: DeviceProgress): boolean => phase === 'committed' || phase === 'failed';

/** A staged rollout: canaries first, then batch after batch, each when the one before has been committed. No I/O. */
export class Rollout {
  readonly #plan: RolloutPlan;
  readonly #waves: readonly (readonly string[])[];
  #file: RolloutFile;

  constructor(plan: RolloutPlan, file: RolloutFile) {
    this.#plan = plan;
    this.#file = file;
    this.#waves = wavesOf(Object.keys(file.devices), plan);
  }

  get file(): RolloutFile {
    return this.#file;
  }

  get halted(): boolean {
    return this.#file.halted;
  }

  /** All that could be done is done; `isThere` tells which devices are online. */
  isOver(isThere: (device: string) => boolean): boolean {
    const all = Object.entries(this.#file.devices);
    // What was begun is not left in the middle: blocks may come from here.
    if (this.halted) return !all.some(([, { phase }]) => phase === 'installing');
    return all.every(([device, one]) => ended(one) || (one.phase === 'waiting' && !isThere(device)));
  }

  /**
   * Devices that are to be told now, for they are there and their wave's turn has come. A device that is away holds
   * nobody up: it is told when it comes back.
   */
  due(isThere: (device: string) => boolean): string[] {
    if (this.halted) return [];
    const due: string[] = [];
    for (const wave of this.#waves) {
      const waiting = wave.filter((device) => this.#of(device).phase === 'waiting');
      due.push(...waiting.filter(isThere));
      const underWay = wave.some((device) => {
        const one = this.#of(device);
        return !ended(one) && !(one.phase === 'waiting' && !isThere(device));
      });
      if (underWay) break;
    }
    return due;
  }

  sent(device: string): void {
    this.#set(device, { ...this.#of(device), phase: 'sent' });
  }

  /** True when the device's line changed. */
  told(device: string, told: Told): boolean {
    const before = this.#file.devices[device];
    if (before === undefined) return false;
    const after = this.#after(device, before, told);
    if (after.phase === before.phase && after.detail === before.detail && after.percent === before.percent)
      return false;
    this.#set(device, after);
    this.#judge();
    return true;
  }

  #after(device: string, before: DeviceProgress, told: Told): DeviceProgress {
    if (told.kind === 'accepted')
      return before.phase === 'sent' ? { ...before, phase: 'installing' } : before;
    if (told.kind === 'failed') return { phase: 'failed', detail: told.code, percent: null };
    const { install, active } = told.state;
    const { name, version } = this.#file;
    if (install?.update_id === updateIdOf(commandIdOf(this.#file, device))) {
      const { phase, reason, percent } = install;
      if (phase === 'committed') return { phase: 'committed', detail: null, percent: null };
      if (phase === 'failed' || phase === 'rolled_back')
        return { phase: 'failed', detail: reason?.code ?? phase, percent: null };
      const at = phase === 'probation' ? 'probation' : 'installing';
      return { phase: at, detail: phase, percent };
    }
    // It has it already, by whatever way.
    const has = active?.name === name && active.version === version && told.state.phase !== 'probation';
    if (before.phase === 'waiting' && has) return { phase: 'committed', detail: 'was there', percent: null };
    return before;
  }

  #of(device: string): DeviceProgress {
    return this.#file.devices[device] ?? NEW;
  }

  #set(device: string, progress: DeviceProgress): void {
    this.#file = { ...this.#file, devices: { ...this.#file.devices, [device]: progress } };
  }

  #judge(): void {
    const all = Object.values(this.#file.devices);
    const begun = all.filter(({ phase, detail }) => phase !== 'waiting' && detail !== 'was there').length;
    const failed = all.filter(({ phase }) => phase === 'failed').length;
    if (failed > 0 && (100 * failed) / begun > this.#plan.haltOnPct)
      this.#file = { ...this.#file, halted: true };
  }
}

function wavesOf(devices: readonly string[], { canaries, batchPct }: RolloutPlan): string[][] {
  const size = Math.max(1, Math.ceil((devices.length * batchPct) / 100));
  const first = Math.min(canaries, devices.length);
  const waves = first > 0 ? [devices.slice(0, first)] : [];
  for (let at = first; at < devices.length; at += size) waves.push(devices.slice(at, at + size));
  return waves;
}
