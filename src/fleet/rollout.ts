import { createHash, randomUUID } from 'node:crypto';
import { updateIdOf } from '../contract/model.ts';
import type { DeviceMessages } from './device-messages.ts';
import type { DeviceProgress, RolloutFile } from './rollout-file.ts';

export interface RolloutPlan {
  /** Number of devices in the first wave. */
  readonly canaries: number;
  /** Size of each further wave, % of all devices. */
  readonly batchPct: number;
  /** Above this share of failures, % of the started devices, no further install starts. */
  readonly haltOnPct: number;
}

/** A message of a device about its install. */
export type DeviceReport =
  | { readonly kind: 'accepted' }
  | { readonly kind: 'failed'; readonly code: string }
  | { readonly kind: 'state'; readonly state: DeviceMessages['model/state'] }
  | { readonly kind: 'versions'; readonly state: DeviceMessages['agent/state'] };

const WAITING: DeviceProgress = { phase: 'waiting', detail: null, percent: null };
/** `detail` of a device that had the version before the rollout. */
const ALREADY_INSTALLED = 'was there';

export const createRolloutFile = (
  { subject, name, version, to }: Pick<RolloutFile, 'subject' | 'name' | 'version' | 'to'>,
  devices: readonly string[],
): RolloutFile => ({
  format: 1,
  id: randomUUID(),
  ...(subject === undefined ? {} : { subject }),
  name,
  version,
  to,
  devices: Object.fromEntries(devices.map((device) => [device, WAITING])),
  halted: false,
});

/** Command id for a device. It is the same in each run of a rollout, so that a device never runs the command twice. */
export const rolloutCommandId = ({ id }: RolloutFile, device: string): string =>
  `push-${id}-${createHash('sha256').update(device).digest('hex').slice(0, 12)}`;

type IsOnline = (device: string) => boolean;

/** A staged rollout: first the canaries, then wave after wave; each starts when the one before is committed. No I/O. */
export class Rollout {
  readonly #plan: RolloutPlan;
  readonly #waves: readonly (readonly string[])[];
  #file: RolloutFile;

  constructor(plan: RolloutPlan, file: RolloutFile) {
    this.#plan = plan;
    this.#file = file;
    this.#waves = splitIntoWaves(Object.keys(file.devices), plan);
  }

  get file(): RolloutFile {
    return this.#file;
  }

  get isHalted(): boolean {
    return this.#file.halted;
  }

  /** True when no install runs and no online device waits. After a halt: when no install runs. */
  isOver(isOnline: IsOnline): boolean {
    const { devices } = this.#file;
    // Finish running installs, also after a halt: this process may serve their blocks.
    if (this.isHalted) return !Object.values(devices).some(({ phase }) => phase === 'installing');
    return !Object.keys(devices).some((device) => this.#isPending(device, isOnline));
  }

  /** Online devices whose wave may start. An offline device does not block its wave: it follows when it is online. */
  listDue(isOnline: IsOnline): string[] {
    if (this.isHalted) return [];
    const due: string[] = [];
    for (const wave of this.#waves) {
      const waiting = wave.filter((device) => this.#progressOf(device).phase === 'waiting');
      due.push(...waiting.filter(isOnline));
      if (wave.some((device) => this.#isPending(device, isOnline))) break;
    }
    return due;
  }

  markSent(device: string): void {
    this.#set(device, { ...this.#progressOf(device), phase: 'sent' });
  }

  /** Returns true when the progress of the device changed. */
  applyReport(device: string, report: DeviceReport): boolean {
    const before = this.#file.devices[device];
    if (before === undefined) return false;
    const after = this.#nextProgress(device, before, report);
    if (after.phase === before.phase && after.detail === before.detail && after.percent === before.percent)
      return false;
    this.#set(device, after);
    this.#haltOnFailures();
    return true;
  }

  #nextProgress(device: string, before: DeviceProgress, report: DeviceReport): DeviceProgress {
    if (report.kind === 'accepted')
      return before.phase === 'sent' ? { ...before, phase: 'installing' } : before;
    if (report.kind === 'failed') return { phase: 'failed', detail: report.code, percent: null };
    if (report.kind === 'versions') return this.#nextOfAgent(device, before, report.state);
    const { install, active, phase: modelPhase } = report.state;
    const { name, version } = this.#file;
    if (install?.update_id === this.#updateIdOf(device)) {
      const { phase, reason, percent } = install;
      if (phase === 'committed') return { phase: 'committed', detail: null, percent: null };
      if (phase === 'failed' || phase === 'rolled_back')
        return { phase: 'failed', detail: reason?.code ?? phase, percent: null };
      return { phase: phase === 'probation' ? 'probation' : 'installing', detail: phase, percent };
    }
    const isInstalled = active?.name === name && active.version === version && modelPhase !== 'probation';
    if (before.phase === 'waiting' && isInstalled)
      return { phase: 'committed', detail: ALREADY_INSTALLED, percent: null };
    return before;
  }

  #nextOfAgent(
    device: string,
    before: DeviceProgress,
    { update, running }: DeviceMessages['agent/state'],
  ): DeviceProgress {
    if (update?.update_id === this.#updateIdOf(device)) {
      const { phase, reason, percent } = update;
      if (phase === 'committed') return { phase: 'committed', detail: null, percent: null };
      if (phase === 'failed' || phase === 'returned')
        return { phase: 'failed', detail: reason?.code ?? phase, percent: null };
      return { phase: phase === 'trial' ? 'probation' : 'installing', detail: phase, percent };
    }
    const isInstalled = running.version === this.#file.version && update?.in_progress !== true;
    if (before.phase === 'waiting' && isInstalled)
      return { phase: 'committed', detail: ALREADY_INSTALLED, percent: null };
    return before;
  }

  #updateIdOf(device: string): string {
    return updateIdOf(rolloutCommandId(this.#file, device));
  }

  /** True when an install runs on the device, or may start because the device is online. */
  #isPending(device: string, isOnline: IsOnline): boolean {
    const { phase } = this.#progressOf(device);
    return phase !== 'committed' && phase !== 'failed' && (phase !== 'waiting' || isOnline(device));
  }

  #progressOf(device: string): DeviceProgress {
    return this.#file.devices[device] ?? WAITING;
  }

  #set(device: string, progress: DeviceProgress): void {
    this.#file = { ...this.#file, devices: { ...this.#file.devices, [device]: progress } };
  }

  #haltOnFailures(): void {
    const all = Object.values(this.#file.devices);
    const started = all.filter(
      ({ phase, detail }) => phase !== 'waiting' && detail !== ALREADY_INSTALLED,
    ).length;
    const failed = all.filter(({ phase }) => phase === 'failed').length;
    if (failed > 0 && (100 * failed) / started > this.#plan.haltOnPct)
      this.#file = { ...this.#file, halted: true };
  }
}

function splitIntoWaves(devices: readonly string[], { canaries, batchPct }: RolloutPlan): string[][] {
  const size = Math.max(1, Math.ceil((devices.length * batchPct) / 100));
  const first = Math.min(canaries, devices.length);
  const waves = first > 0 ? [devices.slice(0, first)] : [];
  for (let at = first; at < devices.length; at += size) waves.push(devices.slice(at, at + size));
  return waves;
}
