// Longer than 300 lines because the loop of a run and the messages that it handles share their state.
import { withAbort } from '../../base/abort.ts';
import { asAgentError } from '../../base/errors.ts';
import { readCommandAnswer } from '../../fleet/command-answer.ts';
import type { Device, Devices } from '../../fleet/devices.ts';
import type { DeviceProgress, DeviceReport } from '../../fleet/device-progress.ts';
import type { Rollout } from '../../fleet/rollout.ts';
import { commandOf, type RolloutAction, type RolloutFile } from '../../fleet/rollout-file.ts';
import { formatTable } from '../format.ts';
import { bad, good } from '../line.ts';
import { LiveTable } from '../progress.ts';
import { EXIT, type Terminal } from '../terminal.ts';
import { pause } from './options.ts';
import {
  countProgress,
  failureNote,
  headLine,
  progressCells,
  progressJson,
  progressLine,
  summaryJson,
  summaryText,
  type RolloutSummary,
} from './rollout-view.ts';

export interface RolloutRunOptions {
  /** How long to wait for offline devices after all others are done. */
  readonly waitMs: number;
  /** A device that takes longer has failed. */
  readonly deviceTimeoutMs: number;
  /** A command without an acknowledgement is sent again after this time, with the same id. */
  readonly resendMs: number;
  readonly oneStage: boolean;
  /** Whether a file keeps the plan for a further run. */
  readonly hasPlan: boolean;
  readonly json: boolean;
}

export interface RolloutRunDeps {
  readonly rollout: Rollout;
  readonly devices: Devices;
  /** `endMs`: when the command expires, ms since the epoch; null where it may not be sent, but this run serves its blocks. */
  readonly send: (device: string, commandId: string, endMs: number | null) => Promise<void>;
  readonly save: (file: RolloutFile) => void;
  /** Why no further device may start; null when they may. */
  readonly hold: () => string | null;
  /** When the maintenance window of a device ends; null when it is closed, Infinity without one. */
  readonly windowEndMs: (device: Device) => number | null;
  readonly onResult: (device: string, result: unknown) => void;
  readonly terminal: Terminal;
}

const POLL_MS = 250;
const DRAW_EVERY_MS = 1000;

/** One run of a rollout, until it is done, halted, or interrupted. */
export class RolloutRun {
  readonly #options: RolloutRunOptions;
  readonly #deps: RolloutRunDeps;
  readonly #action: RolloutAction;
  /** Monotonic time of the last command in this run, by its id. */
  readonly #sentMs = new Map<string, number>();
  /** Monotonic time at which this run first saw the install of a device. */
  readonly #startedMs = new Map<string, number>();
  #savedFile: RolloutFile;
  #note = '';

  constructor(options: RolloutRunOptions, deps: RolloutRunDeps) {
    this.#options = options;
    this.#deps = deps;
    this.#savedFile = deps.rollout.file;
    this.#action = deps.rollout.file.action;
  }

  /** True when every device has succeeded. */
  get isComplete(): boolean {
    return [...this.#deps.rollout.devices.values()].every(({ phase }) => phase === 'committed');
  }

  /** Handles a message of any topic. */
  receive(topic: string, payload: Uint8Array): void {
    const { devices } = this.#deps;
    const parsed = devices.parseTopic(topic);
    if (parsed === null) return;
    const { name, rest } = parsed;
    if (rest === `cmdres/${commandOf(this.#action)}`) this.#handleAnswer(name, payload);
    else this.#applyState(devices.find(name));
  }

  /** Runs until the end and resolves with the exit code. */
  async finish(): Promise<number> {
    const { rollout, devices, terminal } = this.#deps;
    const { signal } = terminal;
    const live = new LiveTable(terminal);
    for (const device of devices.list()) this.#applyState(device);
    rollout.begin();
    let overSinceMs: number | null = null;
    let drawnMs = -Infinity;
    while (!signal.aborted) {
      await this.#sendDueCommands();
      const nowMs = performance.now();
      if (nowMs - drawnMs >= DRAW_EVERY_MS) {
        live.draw(this.#tableLines());
        drawnMs = nowMs;
      }
      if (rollout.isOver(this.#isOnline, this.#isAwaited)) {
        const offline = this.#listOffline();
        const { waitMs } = this.#options;
        overSinceMs ??= nowMs;
        if (rollout.isHalted || offline.length === 0 || nowMs - overSinceMs >= waitMs) break;
        this.#say(`waiting for ${offline.join(', ')}`);
      } else overSinceMs = null;
      await pause(POLL_MS, signal);
    }
    this.#save();
    live.draw([]);
    return this.#printSummary();
  }

  #applyState(device: Device | null): void {
    if (device === null) return;
    const { name, model, agent, status } = device;
    if (model) this.#applyReport(name, { kind: 'model', state: model });
    if (agent) this.#applyReport(name, { kind: 'agent', state: agent });
    if (status?.state === 'online') this.#applyReport(name, { kind: 'session', session: status.session });
  }

  /** Devices that wait because they are offline; of later stages none. */
  #listOffline(): string[] {
    if (this.#options.oneStage) return [];
    const all = [...this.#deps.rollout.devices];
    return all.filter(([, { phase }]) => phase === 'waiting').map(([name]) => name);
  }

  readonly #isOnline = (name: string): boolean => this.#deps.devices.find(name)?.state === 'online';

  /** Starts due devices, resends commands without an acknowledgement, and fails devices after their timeout. */
  async #sendDueCommands(): Promise<void> {
    const { rollout, devices, terminal } = this.#deps;
    for (const device of this.#listStartable()) {
      // A device that started just now may have failed already.
      if (rollout.isHalted || terminal.signal.aborted) break;
      rollout.markSent(device, devices.find(device)?.status?.session ?? null);
      this.#printProgress(device);
      await this.#send(device);
    }
    for (const [device, { phase }] of rollout.devices) {
      if (phase === 'waiting' || phase === 'committed' || phase === 'failed') continue;
      const nowMs = performance.now();
      const id = rollout.commandId(device);
      // Send once in each run, because only this run can serve blocks; then only without an acknowledgement.
      const isUnanswered = phase === 'sent' && !this.#isAwaited(device);
      if (isUnanswered && !this.#mayStart(device)) {
        rollout.markUnsent(device);
        this.#startedMs.delete(id);
        this.#sentMs.delete(id);
        this.#printProgress(device);
        continue;
      }
      const startedMs = this.#startedMs.get(id) ?? nowMs;
      this.#startedMs.set(id, startedMs);
      if (nowMs - startedMs > this.#options.deviceTimeoutMs) {
        const message = 'The device took longer than --device-timeout.';
        this.#applyReport(device, { kind: 'failed', code: 'command_timeout', message, isOld: false });
        continue;
      }
      // On probation the device needs nothing more, and the install may be that of another operator.
      if (phase === 'probation' || (this.#sentMs.has(id) && !isUnanswered)) continue;
      if (!this.#isOnline(device) || rollout.isHalted || terminal.signal.aborted) continue;
      await this.#send(device);
    }
    this.#save();
  }

  /** Due devices that may start now. Prints why others may not. */
  #listStartable(): string[] {
    const { rollout, hold } = this.#deps;
    const due = rollout.listDue(this.#isOnline);
    const held = due.length === 0 ? null : hold();
    if (held !== null) {
      this.#say(held);
      return [];
    }
    const closed = due.filter((name) => this.#windowEndMs(name) === null);
    if (closed.length > 0) this.#say(`waiting for the window of ${closed.join(', ')}`);
    else if (due.length > 0) this.#note = '';
    return due.filter((name) => !closed.includes(name));
  }

  #windowEndMs(name: string): number | null {
    const device = this.#deps.devices.find(name);
    return device === null ? Infinity : this.#deps.windowEndMs(device);
  }

  #mayStart(name: string): boolean {
    return this.#deps.hold() === null && this.#windowEndMs(name) !== null;
  }

  /** Stores the plan, then sends the command. A device whose command the broker refuses has failed. */
  async #send(device: string): Promise<void> {
    const { rollout, send, terminal } = this.#deps;
    const id = rollout.commandId(device);
    this.#sentMs.set(id, performance.now());
    this.#save();
    try {
      // Without a connection, the client sends it after it has connected again.
      await withAbort(send(device, id, this.#windowEndMs(device)), terminal.signal);
    } catch (thrown) {
      const { code, message, retryable } = asAgentError(thrown);
      if (terminal.signal.aborted || retryable) return;
      this.#applyReport(device, { kind: 'failed', code, message, isOld: false });
    }
  }

  /** True until the command to this device counts as lost. */
  readonly #isAwaited = (device: string): boolean => {
    const sentMs = this.#sentMs.get(this.#deps.rollout.commandId(device));
    return sentMs !== undefined && performance.now() - sentMs <= this.#options.resendMs;
  };

  #handleAnswer(name: string, payload: Uint8Array): void {
    const answer = readCommandAnswer(payload);
    if (answer === null || this.#deps.rollout.commandId(name) !== answer.id) return;
    const { report } = answer;
    this.#applyReport(name, report);
    if (report.kind === 'succeeded' && this.#action.kind === 'command')
      this.#deps.onResult(name, report.result);
  }

  #applyReport(name: string, report: DeviceReport): void {
    const before = this.#deps.rollout.devices.get(name);
    if (this.#deps.rollout.applyReport(name, report)) this.#printProgress(name, before);
  }

  /** Prints the progress of a device, as text only when more than the percentage has changed. */
  #printProgress(name: string, before?: DeviceProgress): void {
    const { terminal, rollout } = this.#deps;
    const progress = rollout.devices.get(name);
    if (progress === undefined) return;
    if (this.#options.json) terminal.out(progressJson(this.#action, name, progress, Date.now()));
    else if (!terminal.hasBars && (progress.phase !== before?.phase || progress.detail !== before.detail))
      terminal.out(progressLine(this.#action, name, progress, Date.now()));
  }

  /** Prints why nothing happens, once for each reason; a terminal shows it above the table. */
  #say(note: string): void {
    if (note === this.#note) return;
    this.#note = note;
    if (!this.#deps.terminal.hasBars) this.#deps.terminal.err(note);
  }

  #save(): void {
    const { rollout, save } = this.#deps;
    if (rollout.file === this.#savedFile) return;
    this.#savedFile = rollout.file;
    save(rollout.file);
  }

  #summary(): RolloutSummary {
    const { rollout } = this.#deps;
    return {
      ...countProgress(rollout.devices.values()),
      isHalted: rollout.isHalted,
      stage: rollout.stage(this.#isOnline),
    };
  }

  /** Adds why the device waits. */
  #withReason(name: string, progress: DeviceProgress): DeviceProgress {
    if (progress.phase !== 'waiting') return progress;
    const reasons = [
      ['offline', !this.#isOnline(name)],
      ['halted', this.#deps.rollout.isHalted],
      ['paused', this.#deps.hold() !== null],
      ['window', this.#windowEndMs(name) === null],
    ] as const;
    return { ...progress, detail: reasons.find(([, holds]) => holds)?.[0] ?? null };
  }

  #tableLines(): string[] {
    // Failed and active devices first, because the table may be longer than the screen.
    const rank = { failed: 0, installing: 1, sent: 1, probation: 2, waiting: 3, committed: 4 } as const;
    const rows = [...this.#deps.rollout.devices]
      .sort(([, a], [, b]) => rank[a.phase] - rank[b.phase])
      .map(([name, progress]) => progressCells(this.#action, name, this.#withReason(name, progress)));
    const { number, count } = this.#summary().stage;
    const stage = `stage ${String(number)} of ${String(count)}`;
    return [
      `${headLine(this.#action, this.#summary())}, ${stage}`,
      ...(this.#note === '' ? [] : [this.#note]),
      ...formatTable(rows),
    ];
  }

  #printSummary(): number {
    const { rollout, terminal } = this.#deps;
    const summary = this.#summary();
    const { failed, underWay, waiting, isHalted } = summary;
    const isComplete = failed + underWay + waiting === 0;
    if (this.#options.json) {
      const waits = [...rollout.devices].filter(([, { phase }]) => phase === 'waiting');
      for (const [name, progress] of waits)
        terminal.out(progressJson(this.#action, name, this.#withReason(name, progress), Date.now()));
      terminal.out(summaryJson(rollout.file.id, this.#action, summary));
    } else {
      this.#note = '';
      terminal.out(this.#tableLines().slice(1));
      const counts = summaryText(this.#action, summary);
      terminal.out(isHalted ? bad(`halted: ${counts}`) : isComplete ? good(counts) : counts);
    }
    if (failed > 0) terminal.err(failureNote(isHalted, this.#options.hasPlan));
    const isInterrupted = terminal.signal.aborted;
    const isStageComplete =
      this.#options.oneStage && rollout.hasStarted && !isInterrupted && failed + underWay === 0;
    if (isStageComplete && waiting > 0)
      terminal.err('this stage is complete; run the same command again to approve the next one');
    return isComplete || isStageComplete ? EXIT.ok : EXIT.failed;
  }
}
