import { Devices, type Device } from '../../fleet/devices.ts';
import { OperatorClient } from '../../mqtt/operator-client.ts';
import { formatAge, formatTable } from '../format.ts';
import { LiveTable } from '../progress.ts';
import { EXIT, toJson, toJsonLine, type Terminal } from '../terminal.ts';
import { operatorOptions, pause, TOO_MANY_DEVICES, type FleetOptions } from './options.ts';

export interface WatchOptions extends FleetOptions {
  readonly once?: boolean;
}

const DRAW_EVERY_MS = 1000;
/** Retained messages arrive within this time. */
const COLLECT_MS = 2000;

/**
 * `fleet watch`: shows every device with its state, version, model, phase and last heartbeat: as a live table on a terminal,
 * otherwise as one line for each change; with `--once` only the current state.
 */
export async function watchFleet(options: WatchOptions, terminal: Terminal): Promise<number> {
  const { signal } = terminal;
  const devices = new Devices(options.base, options.to);
  const client = await OperatorClient.connect(operatorOptions(options, terminal));
  const once = options.once === true;
  const printsChanges = !once && !terminal.hasBars;
  using _client = { [Symbol.dispose]: () => client.close() };
  const printed = new Map<string, string>();
  let saysFull = false;
  await client.subscribe(devices.filters, (topic, payload) => {
    const device = devices.receive(topic, payload);
    if (devices.isFull && !saysFull) {
      saysFull = true;
      if (!terminal.hasBars) terminal.err(TOO_MANY_DEVICES);
    }
    if (device === null || !printsChanges) return;
    const summary = deviceSummary(device, Date.now());
    const text = JSON.stringify({ ...summary, last_heartbeat_age_s: null });
    if (printed.get(device.name) === text) return;
    printed.set(device.name, text);
    terminal.out(options.json === true ? toJsonLine(summary) : formatTable([toRow(device, Date.now())]));
  });
  await pause(once ? COLLECT_MS : 0, signal);
  if (once) {
    const nowMs = Date.now();
    if (options.json === true)
      terminal.out(toJson({ devices: devices.list().map((device) => deviceSummary(device, nowMs)) }));
    else terminal.out(deviceTable(devices.list(), nowMs));
    return EXIT.ok;
  }
  const live = new LiveTable(terminal);
  while (!signal.aborted) {
    const table = deviceTable(devices.list().toSorted(byUrgency), Date.now());
    live.draw(devices.isFull ? [TOO_MANY_DEVICES, ...table] : table);
    await pause(DRAW_EVERY_MS, signal);
  }
  return EXIT.ok;
}

/** Orders devices with problems first, because the table may be longer than the screen. */
export const byUrgency = (a: Device, b: Device): number => urgencyRank(a) - urgencyRank(b);

function urgencyRank(device: Device): number {
  if (device.state !== 'online') return 0;
  return device.invalid.length > 0 || (device.health?.degraded.length ?? 0) > 0 ? 1 : 2;
}

const HEADER = ['DEVICE', 'STATE', 'AGENT', 'MODEL', 'PHASE', 'HEARTBEAT', 'DEGRADED'];

const deviceTable = (devices: readonly Device[], nowMs: number): string[] =>
  formatTable([HEADER, ...devices.map((device) => toRow(device, nowMs))]);

function toRow(device: Device, nowMs: number): string[] {
  const {
    state,
    agent,
    model,
    phase,
    last_heartbeat_age_s: ageS,
    degraded,
    invalid,
  } = deviceSummary(device, nowMs);
  return [
    device.name,
    state ?? '?',
    agent ?? '-',
    model ?? '-',
    phase ?? '-',
    formatAge(ageS),
    [...invalid.map((topic) => `invalid ${topic}`), ...degraded].join(', ') || '-',
  ];
}

function deviceSummary({ name, state, health, model, agent, invalid }: Device, nowMs: number) {
  const active = model?.active ?? health?.model;
  const at = Date.parse(health?.at ?? '');
  const update = agent?.update?.in_progress === true ? ` (${agent.update.phase})` : '';
  const version = agent?.running.version ?? health?.agent_version;
  return {
    device: name,
    state,
    agent: version === undefined ? null : version + update,
    model: active?.name ? `${active.name} ${active.version ?? '?'}` : null,
    phase: model?.phase ?? health?.model.phase ?? null,
    last_heartbeat_age_s: Number.isNaN(at) ? null : Math.max(0, Math.round((nowMs - at) / 1000)),
    degraded: health?.degraded ?? [],
    /** Topics whose message does not match the contract. */
    invalid,
  };
}
