import type { Devices } from '../../fleet/devices.ts';
import {
  commandIdOf,
  type DeviceProgress,
  type Rollout,
  type RolloutFile,
  type Told,
} from '../../fleet/rollout.ts';
import { pause } from './options.ts';
import { barText, LiveTable } from './live-table.ts';
import { table } from '../phrases.ts';
import { EXIT, paint, type Terminal } from '../terminal.ts';

export interface PushRunOptions {
  /** How long devices that are away are waited for when all others are done. */
  readonly waitMs: number;
  /** How long a device may take. */
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

const TURN_MS = 250;
const DRAW_EVERY_MS = 1000;
/** A command without a receipt is sent again, under the same id. */
const SEND_AGAIN_MS = 30_000;
/** Reasons of a device that may take the command later. */
const LATER = new Set(['busy', 'stopping', 'clock_unsynced']);

/** One run of a rollout, from where it stands to its end, its halt, or Ctrl-C. */
export class PushRun {
  readonly #options: PushRunOptions;
  readonly #deps: PushRunDeps;
  readonly #byCommand: ReadonlyMap<string, string>;
  /** Monotonic ms of the last sending, and of the first, by device. */
  readonly #sentMs = new Map<string, number>();
  readonly #begunMs = new Map<string, number>();
  #dirty = false;

  constructor(options: PushRunOptions, deps: PushRunDeps) {
    this.#options = options;
    this.#deps = deps;
    const { file } = deps.rollout;
    this.#byCommand = new Map(Object.keys(file.devices).map((name) => [commandIdOf(file, name), name]));
  }

  /** One message of any topic. */
  receive(topic: string, payload: Uint8Array): void {
    const { devices } = this.#deps;
    const place = devices.place(topic);
    if (place === null) return;
    const { name, rest } = place;
    const model = devices.find(name)?.model;
    if (rest === 'model/state' && model) this.#told(name, { kind: 'state', state: model });
    if (rest === 'cmdres/model.install') this.#answered(name, payload);
  }

  async toTheEnd(): Promise<number> {
    const { rollout, devices, terminal } = this.#deps;
    const { signal } = terminal;
    const live = new LiveTable(terminal);
    for (const { name, model } of devices.list())
      if (model) this.#told(name, { kind: 'state', state: model });
    let overSinceMs: number | null = null;
    let drawnMs = -Infinity;
    while (!signal.aborted) {
      await this.#turn();
      const nowMs = performance.now();
      if (nowMs - drawnMs >= DRAW_EVERY_MS) {
        live.draw(this.#lines());
        drawnMs = nowMs;
      }
      if (rollout.isOver(this.#isThere)) {
        const away = this.#waiting();
        const { waitMs } = this.#options;
        if (overSinceMs === null && !rollout.halted && away.length > 0 && waitMs > 0 && !terminal.bars)
          terminal.err(`waiting for ${away.join(', ')}`);
        overSinceMs ??= nowMs;
        if (rollout.halted || away.length === 0 || nowMs - overSinceMs >= waitMs) break;
      } else overSinceMs = null;
      await pause(TURN_MS, signal);
    }
    this.#save();
    live.draw(this.#lines());
    return this.#conclude();
  }

  #waiting(): string[] {
    const all = Object.entries(this.#deps.rollout.file.devices);
    return all.filter(([, { phase }]) => phase === 'waiting').map(([name]) => name);
  }

  readonly #isThere = (name: string): boolean => this.#deps.devices.find(name)?.state === 'online';

  /** Sends what is due, and again what was not received; notices who takes too long. */
  async #turn(): Promise<void> {
    const { rollout, send } = this.#deps;
    const nowMs = performance.now();
    for (const device of rollout.due(this.#isThere)) {
      rollout.sent(device);
      this.#say(device);
    }
    for (const [device, { phase }] of Object.entries(rollout.file.devices)) {
      if (phase === 'waiting' || phase === 'committed' || phase === 'failed') continue;
      const begunMs = this.#begunMs.get(device) ?? nowMs;
      this.#begunMs.set(device, begunMs);
      if (nowMs - begunMs > this.#options.deviceTimeoutMs) {
        this.#told(device, { kind: 'failed', code: 'command_timeout' });
        continue;
      }
      const sentMs = this.#sentMs.get(device);
      // Once in each run, for blocks may be wanted that only this run can serve; then only without a receipt.
      const again = phase === 'sent' && nowMs - (sentMs ?? 0) > SEND_AGAIN_MS;
      if ((sentMs !== undefined && !again) || !this.#isThere(device) || rollout.halted) continue;
      this.#sentMs.set(device, nowMs);
      // Stored before it is sent.
      this.#save();
      await send(device);
    }
    this.#save();
  }

  #answered(name: string, payload: Uint8Array): void {
    const { id, status, reason, error } = readAnswer(payload);
    if (this.#byCommand.get(String(id)) !== name) return;
    if (status === 'accepted') this.#told(name, { kind: 'accepted' });
    else if (status === 'rejected' && !LATER.has(String(reason)))
      this.#told(name, { kind: 'failed', code: String(reason) });
    else if (status === 'failed' || status === 'expired')
      this.#told(name, { kind: 'failed', code: typeof error?.code === 'string' ? error.code : status });
  }

  #told(name: string, told: Told): void {
    if (this.#deps.rollout.told(name, told)) this.#say(name);
  }

  #say(name: string): void {
    this.#dirty = true;
    const { terminal, rollout } = this.#deps;
    const progress = rollout.file.devices[name];
    if (!progress || (terminal.bars && !this.#options.json)) return;
    if (this.#options.json) terminal.out(JSON.stringify({ device: name, ...progress }));
    else terminal.out(table([cells(name, progress)]));
  }

  #save(): void {
    if (!this.#dirty) return;
    this.#dirty = false;
    this.#deps.save(this.#deps.rollout.file);
  }

  #lines(): string[] {
    const { file } = this.#deps.rollout;
    const all = Object.entries(file.devices);
    const done = all.filter(([, { phase }]) => phase === 'committed').length;
    const failed = all.filter(([, { phase }]) => phase === 'failed').length;
    const total = `${String(done)} of ${String(all.length)} committed, ${String(failed)} failed`;
    // What moves or went wrong comes first: the table may be longer than the screen.
    const rank = { failed: 0, installing: 1, sent: 1, probation: 2, waiting: 3, committed: 4 } as const;
    const rows = all
      .sort(([, a], [, b]) => rank[a.phase] - rank[b.phase])
      .map(([name, progress]) =>
        cells(name, progress.phase === 'waiting' && !this.#isThere(name) ? AWAY : progress),
      );
    return [
      `${file.name} ${file.version}  [${barText((100 * (done + failed)) / all.length)}]  ${total}`,
      ...table(rows).split('\n'),
    ];
  }

  #conclude(): number {
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
    if (this.#options.json) terminal.out(JSON.stringify({ summary }));
    else {
      const { good, bad } = paint(terminal.colour.out);
      const { committed, failed, under_way, waiting } = summary;
      const numbers = `${String(committed)} committed, ${String(failed)} failed, ${String(under_way)} under way, ${String(waiting)} waiting`;
      const whole = failed + under_way + waiting === 0;
      terminal.out(file.halted ? bad(`halted: ${numbers}`) : whole ? good(numbers) : numbers);
    }
    return summary.committed === Object.keys(file.devices).length ? EXIT.ok : EXIT.failed;
  }
}

const AWAY: DeviceProgress = { phase: 'waiting', detail: 'away', percent: null };

const cells = (name: string, { phase, detail, percent }: DeviceProgress): string[] => [
  name,
  phase,
  detail === phase ? '' : (detail ?? ''),
  percent === null ? '' : `[${barText(percent)}]`,
];

interface Answer {
  readonly id?: unknown;
  readonly status?: unknown;
  readonly reason?: unknown;
  readonly error?: { readonly code?: unknown } | null;
}

/** Anyone may publish anything: nothing of it is taken for granted. */
function readAnswer(payload: Uint8Array): Answer {
  try {
    return (JSON.parse(Buffer.from(payload).toString('utf8')) as Answer | null) ?? {};
  } catch {
    return {};
  }
}
