import { AgentError } from '../../base/errors.ts';
import { Devices, type Device } from '../../fleet/devices.ts';
import { OperatorClient } from '../../mqtt/operator-client.ts';
import { formatAge, formatCount, formatTable } from '../format.ts';
import { LiveTable } from '../progress.ts';
import { EXIT, toJson, toJsonLine, type Terminal } from '../terminal.ts';
import {
  Collection,
  operatorOptions,
  parseNumber,
  pause,
  selectedDevices,
  TOO_MANY_DEVICES,
  type FleetOptions,
} from './options.ts';

export interface WatchOptions extends FleetOptions {
  readonly once?: boolean;
  readonly all?: boolean;
  readonly hideAfter: string;
}

const DRAW_EVERY_MS = 1000;
const DAY_MS = 86_400_000;
/** The time of the newest record shows when a device was last online, even after its heartbeat has expired at the broker. */
const TOPICS = ['status', 'health', 'model/state', 'agent/state', 'camera/+/latest'];

/**
 * `fleet watch`: shows every device with its state, versions, phase and last heartbeat: as a live table on a terminal,
 * otherwise as one line for each change; with `--once` only the current state. Throws `usage` when no device matches.
 */
export async function watchFleet(options: WatchOptions, terminal: Terminal): Promise<number> {
  const { signal } = terminal;
  const hideAfterMs = parseNumber('hide-after', options.hideAfter, 0, 100_000) * DAY_MS;
  const devices = new Devices(options.base, selectedDevices(options));
  const client = await OperatorClient.connect(operatorOptions(options, terminal));
  const once = options.once === true;
  const printsChanges = !once && !terminal.hasBars;
  using _client = { [Symbol.dispose]: () => client.close() };
  const isShown = (device: Device): boolean =>
    options.all === true || !hasLeft(device, Date.now() - hideAfterMs);
  const printed = new Map<string, string>();
  const collection = new Collection();
  let isCollecting = true;
  const printChange = (device: Device): void => {
    const summary = deviceSummary(device, Date.now());
    const text = JSON.stringify({ ...summary, last_heartbeat_age_s: null });
    if (printed.get(device.name) === text) return;
    printed.set(device.name, text);
    terminal.out(options.json === true ? toJsonLine(summary) : formatTable([toRow(device, Date.now())]));
  };
  await client.subscribe(devices.filters(TOPICS), (topic, payload, retain) => {
    if (retain) collection.note();
    const device = devices.receive(topic, payload);
    if (device !== null && printsChanges && !isCollecting) printChange(device);
  });
  await collection.finish(signal);
  if (terminal.signal.aborted) return EXIT.ok;
  isCollecting = false;
  if (devices.list().length === 0)
    throw new AgentError('usage', 'no device matches --to', {
      hint: 'check --to, --base and the rights of the user; a device appears when it has connected once',
    });
  if (devices.isFull && !terminal.hasBars) terminal.err(TOO_MANY_DEVICES);
  const overview = (order: typeof byUrgency | null): string[] => {
    const nowMs = Date.now();
    const all = devices.list();
    const shown = all.filter(isShown);
    const hidden = all.length - shown.length;
    const table = formatTable([
      HEADER,
      ...(order === null ? shown : shown.toSorted(order)).map((device) => toRow(device, nowMs)),
    ]);
    return [
      fleetLine(shown),
      ...(hidden === 0 ? [] : [`${formatCount(hidden, 'device')} hidden, away too long (--all shows them)`]),
      ...table,
    ];
  };
  if (once) {
    const nowMs = Date.now();
    const shown = devices.list().filter(isShown);
    if (options.json === true)
      terminal.out(
        toJson({
          devices: shown.map((device) => deviceSummary(device, nowMs)),
          hidden: devices.list().length - shown.length,
        }),
      );
    else terminal.out(overview(null));
    return EXIT.ok;
  }
  if (printsChanges) for (const device of devices.list().filter(isShown)) printChange(device);
  const live = new LiveTable(terminal);
  while (!signal.aborted) {
    const table = overview(byUrgency);
    live.draw(devices.isFull ? [TOO_MANY_DEVICES, ...table] : table);
    await pause(DRAW_EVERY_MS, signal);
  }
  return EXIT.ok;
}

/** True for a device that is not there, and whose last sign of life is older than the time. */
export function hasLeft({ state, status, health, lastRecordMs }: Device, beforeMs: number): boolean {
  if (state !== 'offline' && state !== 'stopped') return false;
  const signs = [status?.at, health?.at].map((at) => Date.parse(at ?? ''));
  return Math.max(lastRecordMs ?? 0, ...signs.filter((ms) => !Number.isNaN(ms))) < beforeMs;
}

/** `12 devices: 10 online, 2 offline; 1 degraded; models: gauge 2.0.0 (12); agents: 1.3.0 (12)`. */
export function fleetLine(devices: readonly Device[]): string {
  const count = (values: readonly (string | null)[]): string => {
    const counts = new Map<string, number>();
    for (const value of values) counts.set(value ?? '?', (counts.get(value ?? '?') ?? 0) + 1);
    return [...counts]
      .sort(([, a], [, b]) => b - a)
      .map(([value, number]) => `${value} (${String(number)})`)
      .join(', ');
  };
  const degraded = devices.filter(({ health }) => (health?.degraded.length ?? 0) > 0).length;
  const facts = devices.map(versionsOf);
  return [
    `${formatCount(devices.length, 'device')}: ${count(devices.map(({ state }) => state))}`,
    `${String(degraded)} degraded`,
    `models: ${count(facts.map(({ model }) => model))}`,
    `agents: ${count(facts.map(({ agent }) => agent))}`,
  ].join('; ');
}

/** Orders devices with problems first, because the table may be longer than the screen. */
export const byUrgency = (a: Device, b: Device): number => urgencyRank(a) - urgencyRank(b);

function urgencyRank(device: Device): number {
  if (device.state !== 'online') return 0;
  return device.invalid.length > 0 || (device.health?.degraded.length ?? 0) > 0 ? 1 : 2;
}

const HEADER = [
  'DEVICE',
  'STATE',
  'AGENT',
  'NEXT AGENT',
  'MODEL',
  'CANDIDATE',
  'PHASE',
  'HEARTBEAT',
  'DEGRADED',
];

function toRow(device: Device, nowMs: number): string[] {
  const summary = deviceSummary(device, nowMs);
  const { state, agent, agent_candidate, model, candidate, phase, degraded, invalid } = summary;
  return [
    device.name,
    state ?? '?',
    agent ?? '-',
    agent_candidate ?? '-',
    model ?? '-',
    candidate ?? '-',
    summary.failure ?? phase ?? '-',
    // The broker forgets the heartbeat of a device that is away.
    summary.last_heartbeat_age_s === null ? '-' : formatAge(summary.last_heartbeat_age_s),
    [...invalid.map((topic) => `invalid ${topic}`), ...degraded].join(', ') || '-',
  ];
}

/** Versions that run, and those that are being installed; a model on probation runs already. */
function versionsOf({ health, model, agent }: Device) {
  const active = model?.active ?? health?.model;
  const update = agent?.update?.in_progress === true ? agent.update : null;
  const candidate = model?.candidate;
  return {
    agent: agent?.running.version ?? health?.agent_version ?? null,
    agent_candidate: update === null ? null : `${update.version} (${update.phase})`,
    model: active?.name ? `${active.name} ${active.version ?? '?'}` : null,
    candidate: candidate ? `${candidate.name} ${candidate.version}` : null,
    failure: failureOf(model),
  };
}

/** `failed: gauge 2.0.0, model_golden_mismatch`; null when the last install of a model did not fail. */
export function failureOf(model: Device['model']): string | null {
  const install = model?.install;
  if (install?.reason == null || install.phase !== model?.phase) return null;
  return `${install.phase}: ${install.name} ${install.version}, ${install.reason.code}`;
}

function deviceSummary(device: Device, nowMs: number) {
  const { name, state, health, model, invalid } = device;
  const at = Date.parse(health?.at ?? '');
  return {
    device: name,
    state,
    ...versionsOf(device),
    phase: model?.phase ?? health?.model.phase ?? null,
    last_heartbeat_age_s: Number.isNaN(at) ? null : Math.max(0, Math.round((nowMs - at) / 1000)),
    degraded: health?.degraded ?? [],
    /** Topics whose message does not match the contract. */
    invalid,
  };
}
