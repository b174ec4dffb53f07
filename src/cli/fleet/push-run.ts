import { parseJsonObject } from '../../base/json-object.ts';
import type { Device, Devices } from '../../fleet/devices.ts';
import { rolloutCommandId, type DeviceReport, type Rollout } from '../../fleet/rollout.ts';
import type { DeviceProgress, RolloutFile } from '../../fleet/rollout-file.ts';
import { formatBar, formatTable } from '../format.ts';
import { LiveTable } from '../progress.ts';
import { bad, good } from '../line.ts';
import { EXIT, toJsonLine, type Terminal } from '../terminal.ts';
import { pause } from './options.ts';

export interface PushRunOptions {
  /** How long to wait for offline devices after all others are done. */
  readonly waitMs: number;
  /** A device that takes longer has failed. */
  readonly deviceTimeoutMs: number;
  readonly json: boolean;
}

export interface PushRunDeps {
  readonly rollout: Rollout;
  readonly devices: Devices;
  readonly send: (device: string) => Promise<void>;
  readonly save: (file: RolloutFile) => void;
  readonly terminal: Terminal;
}

const POLL_MS = 250;
const DRAW_EVERY_MS = 1000;
/** A command without an acknowledgement is sent again, with the same id. */
const RESEND_MS = 30_000;
const MAX_ANSWER_BYTES = 65_536;
const MAX_CODE_CHARS = 200;
/** Rejections that are temporary. */
const TEMPORARY_REASONS = new Set(['busy', 'stopping', 'clock_unsynced']);

/** One run of a rollout, from its stored state until it is done, halted, or interrupted. */
export class PushRun {
  readonly #options: PushRunOptions;
  readonly #deps: PushRunDeps;
  readonly #byCommand: ReadonlyMap<string, string>;
  /** Monotonic time of the last command in this run, by device. */
  readonly #sentMs = new Map<string, number>();
  /** Monotonic time at which this run first saw the install of a device. */
  readonly #startedMs = new Map<string, number>();
  #hasUnsavedChanges = false;

  constructor(options: PushRunOptions, deps: PushRunDeps) {
    this.#options = options;
    this.#deps = deps;
    const { file } = deps.rollout;
    this.#byCommand = new Map(Object.keys(file.devices).map((name) => [rolloutCommandId(file, name), name]));
  }

  /** Handles a message of any topic. */
  receive(topic: string, payload: Uint8Array): void {
    const { devices } = this.#deps;
    const parsed = devices.parseTopic(topic);
    if (parsed === null) return;
    const { name, rest } = parsed;
    const { subject = 'model' } = this.#deps.rollout.file;
    if (rest === `${subject}/state`) this.#applyState(devices.find(name));
    if (rest === `cmdres/${subject}.install`) this.#handleAnswer(name, payload);
  }

  /** Runs until the end and resolves with the exit code. */
  async finish(): Promise<number> {
    const { rollout, devices, terminal } = this.#deps;
    const { signal } = terminal;
    const live = new LiveTable(terminal);
    for (const device of devices.list()) this.#applyState(device);
    let overSinceMs: number | null = null;
    let drawnMs = -Infinity;
    while (!signal.aborted) {
      await this.#sendDueCommands();
      const nowMs = performance.now();
      if (nowMs - drawnMs >= DRAW_EVERY_MS) {
        live.draw(this.#tableLines());
        drawnMs = nowMs;
      }
      if (rollout.isOver(this.#isOnline)) {
        const offline = this.#listWaiting();
        const { waitMs } = this.#options;
        if (
          overSinceMs === null &&
          !rollout.isHalted &&
          offline.length > 0 &&
          waitMs > 0 &&
          !terminal.hasBars
        )
          terminal.err(`waiting for ${offline.join(', ')}`);
        overSinceMs ??= nowMs;
        if (rollout.isHalted || offline.length === 0 || nowMs - overSinceMs >= waitMs) break;
      } else overSinceMs = null;
      await pause(POLL_MS, signal);
    }
    this.#save();
    live.draw(this.#tableLines());
    return this.#printSummary();
  }

  #applyState(device: Device | null): void {
    if (device === null) return;
    const { name, model, agent } = device;
    if (this.#deps.rollout.file.subject === 'agent') {
      if (agent) this.#applyReport(name, { kind: 'versions', state: agent });
    } else if (model) this.#applyReport(name, { kind: 'state', state: model });
  }

  #listWaiting(): string[] {
    const all = Object.entries(this.#deps.rollout.file.devices);
    return all.filter(([, { phase }]) => phase === 'waiting').map(([name]) => name);
  }

  readonly #isOnline = (name: string): boolean => this.#deps.devices.find(name)?.state === 'online';

  /** Starts due devices, resends commands without an acknowledgement, and fails devices after their timeout. */
  async #sendDueCommands(): Promise<void> {
    const { rollout, send } = this.#deps;
    const nowMs = performance.now();
    for (const device of rollout.listDue(this.#isOnline)) {
      rollout.markSent(device);
      this.#printProgress(device);
    }
    for (const [device, { phase }] of Object.entries(rollout.file.devices)) {
      if (phase === 'waiting' || phase === 'committed' || phase === 'failed') continue;
      const startedMs = this.#startedMs.get(device) ?? nowMs;
      this.#startedMs.set(device, startedMs);
      if (nowMs - startedMs > this.#options.deviceTimeoutMs) {
        this.#applyReport(device, { kind: 'failed', code: 'command_timeout' });
        continue;
      }
      const sentMs = this.#sentMs.get(device);
      // Send once in each run, because only this run can serve blocks; then only without an acknowledgement.
      const isUnanswered = phase === 'sent' && nowMs - (sentMs ?? 0) > RESEND_MS;
      if ((sentMs !== undefined && !isUnanswered) || !this.#isOnline(device) || rollout.isHalted) continue;
      this.#sentMs.set(device, nowMs);
      // Store before sending.
      this.#save();
      await send(device);
    }
    this.#save();
  }

  #handleAnswer(name: string, payload: Uint8Array): void {
    if (payload.length > MAX_ANSWER_BYTES) return;
    const { id, status, reason, error } = (parseJsonObject(payload) ?? {}) as CommandAnswer;
    if (typeof id !== 'string' || this.#byCommand.get(id) !== name) return;
    if (status === 'accepted') this.#applyReport(name, { kind: 'accepted' });
    else if (status === 'rejected') {
      const code = toCode(reason, status);
      if (!TEMPORARY_REASONS.has(code)) this.#applyReport(name, { kind: 'failed', code });
    } else if (status === 'failed' || status === 'expired')
      this.#applyReport(name, { kind: 'failed', code: toCode(error?.code, status) });
  }

  #applyReport(name: string, report: DeviceReport): void {
    if (this.#deps.rollout.applyReport(name, report)) this.#printProgress(name);
  }

  #printProgress(name: string): void {
    this.#hasUnsavedChanges = true;
    const { terminal, rollout } = this.#deps;
    const progress = rollout.file.devices[name];
    if (!progress || (terminal.hasBars && !this.#options.json)) return;
    if (this.#options.json) terminal.out(toJsonLine({ device: name, ...progress }));
    else terminal.out(formatTable([toCells(name, progress)]));
  }

  #save(): void {
    if (!this.#hasUnsavedChanges) return;
    this.#hasUnsavedChanges = false;
    this.#deps.save(this.#deps.rollout.file);
  }

  #tableLines(): string[] {
    const { file } = this.#deps.rollout;
    const all = Object.entries(file.devices);
    const done = all.filter(([, { phase }]) => phase === 'committed').length;
    const failed = all.filter(([, { phase }]) => phase === 'failed').length;
    const total = `${String(done)} of ${String(all.length)} committed, ${String(failed)} failed`;
    // Failed and active devices first, because the table may be longer than the screen.
    const rank = { failed: 0, installing: 1, sent: 1, probation: 2, waiting: 3, committed: 4 } as const;
    const rows = all
      .sort(([, a], [, b]) => rank[a.phase] - rank[b.phase])
      .map(([name, progress]) =>
        toCells(name, progress.phase === 'waiting' && !this.#isOnline(name) ? OFFLINE : progress),
      );
    return [
      `${file.name} ${file.version}  [${formatBar((100 * (done + failed)) / all.length)}]  ${total}`,
      ...formatTable(rows),
    ];
  }

  #printSummary(): number {
    const { rollout, terminal } = this.#deps;
    const { file } = rollout;
    const count = (...phases: DeviceProgress['phase'][]): number =>
      Object.values(file.devices).filter(({ phase }) => phases.includes(phase)).length;
    const summary = {
      rollout: file.id,
      name: file.name,
      version: file.version,
      committed: count('committed'),
      failed: count('failed'),
      under_way: count('sent', 'installing', 'probation'),
      waiting: count('waiting'),
      halted: file.halted,
    };
    if (this.#options.json) terminal.out(toJsonLine({ summary }));
    else {
      const { committed, failed, under_way, waiting } = summary;
      const counts = `${String(committed)} committed, ${String(failed)} failed, ${String(under_way)} installing, ${String(waiting)} waiting`;
      const isComplete = failed + under_way + waiting === 0;
      terminal.out(file.halted ? bad(`halted: ${counts}`) : isComplete ? good(counts) : counts);
    }
    return summary.committed === Object.keys(file.devices).length ? EXIT.ok : EXIT.failed;
  }
}

const OFFLINE: DeviceProgress = { phase: 'waiting', detail: 'offline', percent: null };

const toCells = (name: string, { phase, detail, percent }: DeviceProgress): string[] => [
  name,
  phase,
  detail === phase ? '' : (detail ?? ''),
  percent === null ? '' : `[${formatBar(percent)}]`,
];

/** Anybody may have written anything into an answer. */
const toCode = (value: unknown, fallback: string): string =>
  typeof value === 'string' ? value.slice(0, MAX_CODE_CHARS) : fallback;

interface CommandAnswer {
  readonly id?: unknown;
  readonly status?: unknown;
  readonly reason?: unknown;
  readonly error?: { readonly code?: unknown } | null;
}
