import { createHash } from 'node:crypto';
import { updateIdOf } from '../contract/model.ts';
import {
  ALREADY_INSTALLED,
  COMMITTED,
  isStarting,
  SUPERSEDED,
  WAITING,
  WAS_THERE,
  type DeviceProgress,
  type DeviceReport,
} from './device-progress.ts';
import { agentFacts, modelFacts, type InstallFacts } from './install-facts.ts';
import type { RolloutFile } from './rollout-file.ts';

export interface RolloutOptions {
  /** Number of devices in the first stage. */
  readonly canaries: number;
  /** Size of each further stage, % of all devices. */
  readonly batchPct: number;
  /** Above this share of failures, % of the started devices, no further device starts. */
  readonly haltOnPct: number;
  /** Try again on devices that failed before this run. */
  readonly retryFailed: boolean;
  /** End after the first stage in which a device starts. */
  readonly oneStage: boolean;
}

type IsOnline = (device: string) => boolean;

/** A staged rollout: first the canaries, then stage after stage; each starts when the one before has ended. No I/O. */
export class Rollout {
  readonly #options: RolloutOptions;
  readonly #stages: readonly (readonly string[])[];
  readonly #progress: Map<string, DeviceProgress>;
  /** Devices that got a further attempt in this run. */
  readonly #tryingAgain = new Set<string>();
  /** Devices that this run started. */
  readonly #started = new Set<string>();
  /** The session in which a device got its command. */
  readonly #sessions = new Map<string, string | null>();
  #file: RolloutFile;
  #isHalted = false;

  /** `devices`: those of the file that take part, in its order. */
  constructor(options: RolloutOptions, file: RolloutFile, devices: readonly string[] = file.devices) {
    this.#options = options;
    this.#file = file;
    this.#progress = new Map(devices.map((device) => [device, WAITING]));
    this.#stages = splitIntoStages(devices, options);
  }

  get file(): RolloutFile {
    return this.#file;
  }

  get isHalted(): boolean {
    return this.#isHalted;
  }

  /** True when this run started a device, or found one whose install was under way. */
  get hasStarted(): boolean {
    return this.#started.size > 0;
  }

  get devices(): ReadonlyMap<string, DeviceProgress> {
    return this.#progress;
  }

  /** Number of the first stage that has not ended, from 1; the last one when all have ended. */
  stage(isOnline: IsOnline): { readonly number: number; readonly count: number } {
    const open = this.#stages.findIndex((stage) => stage.some((one) => this.#isPending(one, isOnline)));
    const count = this.#stages.length;
    return { number: open < 0 ? count : open + 1, count };
  }

  /** Call this after the first reports: installs that are under way count as started. */
  begin(): void {
    for (const [device, { phase }] of this.#progress)
      if (phase === 'installing' || phase === 'probation') this.#started.add(device);
  }

  /** The devices of the stages up to the one that has not ended; of a rollout of one stage, up to the one that started. */
  #reached(isOnline: IsOnline): readonly string[] {
    const reached: string[] = [];
    for (const stage of this.#stages) {
      reached.push(...stage);
      if (stage.some((device) => this.#isPending(device, isOnline))) break;
      if (this.#options.oneStage && stage.some((device) => this.#started.has(device))) break;
    }
    return reached;
  }

  /**
   * Id of the command for a device. It is the same in each run of a rollout, so that a device never runs the command
   * twice; a further attempt has another one.
   */
  commandId(device: string): string {
    const attempt = this.#file.attempts[device];
    const hash = createHash('sha256').update(device).digest('hex').slice(0, 12);
    return `push-${this.#file.id}-${hash}${attempt === undefined ? '' : `-${String(attempt)}`}`;
  }

  /**
   * True when no install runs and no online device waits. After a halt: when no install runs, and no answer to a command
   * is awaited.
   */
  isOver(isOnline: IsOnline, isAwaited: (device: string) => boolean = isOnline): boolean {
    // Finish running installs, also after a halt: this process may serve their blocks.
    if (this.#isHalted)
      return ![...this.#progress].some(
        ([device, { phase }]) => phase === 'installing' || (phase === 'sent' && isAwaited(device)),
      );
    return !this.#reached(isOnline).some((device) => this.#isPending(device, isOnline));
  }

  /** Online devices whose stage may start. An offline device does not block its stage: it follows when it is online. */
  listDue(isOnline: IsOnline): string[] {
    if (this.#isHalted) return [];
    return this.#reached(isOnline).filter(
      (device) => this.#progressOf(device).phase === 'waiting' && isOnline(device),
    );
  }

  markSent(device: string, session: string | null): void {
    this.#sessions.set(device, session);
    this.#started.add(device);
    this.#progress.set(device, { ...this.#progressOf(device), phase: 'sent' });
  }

  /** The command was not acknowledged, and may not be sent again now: the device waits as before it. */
  markUnsent(device: string): void {
    this.#started.delete(device);
    this.#progress.set(device, WAITING);
  }

  /** Returns true when the progress of the device changed. */
  applyReport(device: string, report: DeviceReport): boolean {
    const before = this.#progress.get(device);
    if (before === undefined) return false;
    const after = this.#next(device, before, report);
    const isSame = (['phase', 'detail', 'percent', 'message'] as const).every(
      (key) => after[key] === before[key],
    );
    if (isSame) return false;
    this.#progress.set(device, after);
    // The device only repeated an answer.
    if ('isOld' in report && report.isOld && after.phase !== 'waiting') this.#started.delete(device);
    this.#haltOnFailures();
    return true;
  }

  #next(device: string, before: DeviceProgress, report: DeviceReport): DeviceProgress {
    const { action } = this.#file;
    switch (report.kind) {
      case 'accepted':
        // Also after `markUnsent`: the device received an earlier copy of the command.
        return before.phase === 'sent' || before.phase === 'waiting'
          ? { ...before, phase: 'installing', detail: null }
          : before;
      case 'deferred':
        return before.phase === 'sent' ? { ...before, detail: report.reason } : before;
      case 'failed':
        return this.#failed(device, report);
      case 'succeeded':
        if (action.kind === 'command') return this.#commandSucceeded(before, report);
        // The install succeeded in an earlier run, and the state of the device names another one since.
        return report.isOld && isStarting(before) ? this.#tryAgain(device, before) : before;
      case 'session':
        return this.#isRestart && before.phase !== 'waiting' && report.session !== this.#sessions.get(device)
          ? { ...COMMITTED, result: before.result }
          : before;
      case 'model':
        return action.kind === 'model'
          ? this.#installed(device, before, modelFacts(action, report.state))
          : before;
      case 'agent':
        return action.kind === 'agent'
          ? this.#installed(device, before, agentFacts(action, report.state))
          : before;
    }
  }

  get #command(): string | null {
    const { action } = this.#file;
    return action.kind === 'command' ? action.command : null;
  }

  get #isRestart(): boolean {
    return this.#command === 'restart';
  }

  /** A restart has succeeded when the device is back with another session. */
  #commandSucceeded(
    before: DeviceProgress,
    { result, isOld }: { readonly result: unknown; readonly isOld: boolean },
  ): DeviceProgress {
    if (before.phase === 'committed') return before;
    return this.#isRestart && !isOld
      ? { ...before, phase: 'installing', detail: 'restarting', result }
      : { ...COMMITTED, result };
  }

  #installed(device: string, before: DeviceProgress, { isWanted, update }: InstallFacts): DeviceProgress {
    const isOurs = update?.id === updateIdOf(this.commandId(device));
    if (update !== null && (isOurs || (isWanted === true && update.isOnTrial && update.isOfWanted))) {
      const { phase, percent, isOnTrial, end, reason } = update;
      if (end === null)
        return { phase: isOnTrial ? 'probation' : 'installing', detail: phase, percent, message: null };
      if (end === 'failed')
        return this.#failed(device, {
          code: reason?.code ?? phase,
          message: reason?.message ?? null,
          isOld: before.phase === 'waiting',
        });
    }
    if (isWanted === null) return before;
    if (isWanted) {
      if (before.phase === 'committed') return before;
      return isOurs ? COMMITTED : WAS_THERE;
    }
    if (isOurs || before.phase === 'committed') return this.#tryAgain(device, before);
    return before;
  }

  #failed(
    device: string,
    {
      code,
      message,
      isOld,
    }: { readonly code: string; readonly message: string | null; readonly isOld: boolean },
  ): DeviceProgress {
    // An abort wants that no install runs.
    if (code === 'model_install_none' && this.#command === 'model.abort') return COMMITTED;
    if (isOld && this.#options.retryFailed && !this.#tryingAgain.has(device)) return this.#newAttempt(device);
    return { phase: 'failed', detail: code, message, percent: null };
  }

  /** Another version is active than the one that this rollout installed. In this run, it is a failure. */
  #tryAgain(device: string, before: DeviceProgress): DeviceProgress {
    const isOfThisRun = this.#tryingAgain.has(device) || before.phase === 'committed';
    return isOfThisRun ? { ...WAITING, phase: 'failed', detail: SUPERSEDED } : this.#newAttempt(device);
  }

  #newAttempt(device: string): DeviceProgress {
    this.#tryingAgain.add(device);
    const attempts = { ...this.#file.attempts, [device]: (this.#file.attempts[device] ?? 1) + 1 };
    this.#file = { ...this.#file, attempts };
    return WAITING;
  }

  /** True when an install runs on the device, or may start because the device is online. */
  #isPending(device: string, isOnline: IsOnline): boolean {
    const { phase } = this.#progressOf(device);
    return phase !== 'committed' && phase !== 'failed' && (phase !== 'waiting' || isOnline(device));
  }

  #progressOf(device: string): DeviceProgress {
    return this.#progress.get(device) ?? WAITING;
  }

  #haltOnFailures(): void {
    const all = [...this.#progress.values()];
    const started = all.filter(
      ({ phase, detail }) => phase !== 'waiting' && detail !== ALREADY_INSTALLED,
    ).length;
    const failed = all.filter(({ phase }) => phase === 'failed').length;
    if (failed > 0 && (100 * failed) / started > this.#options.haltOnPct) this.#isHalted = true;
  }
}

function splitIntoStages(
  devices: readonly string[],
  { canaries, batchPct }: Pick<RolloutOptions, 'canaries' | 'batchPct'>,
): string[][] {
  const size = Math.max(1, Math.ceil((devices.length * batchPct) / 100));
  const first = Math.min(canaries, devices.length);
  const stages = first > 0 ? [devices.slice(0, first)] : [];
  for (let at = first; at < devices.length; at += size) stages.push(devices.slice(at, at + size));
  return stages;
}
