import type { Device } from '../../fleet/devices.ts';
import { OperatorClient } from '../../mqtt/operator-client.ts';
import { devicesOf, operatorOptions, pause, type FleetOptions } from './options.ts';
import { LiveTable } from './live-table.ts';
import { agePhrase, table } from '../phrases.ts';
import { EXIT, jsonText, type Terminal } from '../terminal.ts';

export interface WatchOptions extends FleetOptions {
  readonly once?: boolean;
}

const DRAW_EVERY_MS = 1000;
/** What is retained has come by then. */
const GATHER_MS = 2000;

/**
 * `fleet watch`: every device with its state, model, phase and age. A live table on a terminal; a line for each change
 * otherwise; with `--once` what there is, and no more.
 */
export async function fleetWatch(options: WatchOptions, terminal: Terminal): Promise<number> {
  const { signal } = terminal;
  const devices = devicesOf(options);
  const client = await OperatorClient.connect(operatorOptions(options, terminal));
  const once = options.once === true;
  const lines = !once && !terminal.bars;
  try {
    const shown = new Map<string, string>();
    await client.subscribe(devices.filters, (topic, payload) => {
      const device = devices.receive(topic, payload);
      if (device === null || !lines) return;
      const view = deviceView(device, Date.now());
      const text = JSON.stringify({ ...view, last_heartbeat_age_s: null });
      if (shown.get(device.name) === text) return;
      shown.set(device.name, text);
      terminal.out(options.json === true ? JSON.stringify(view) : table([rowOf(device, Date.now())]));
    });
    await pause(once ? GATHER_MS : 0, signal);
    if (once) {
      const nowMs = Date.now();
      if (options.json === true)
        terminal.out(jsonText({ devices: devices.list().map((device) => deviceView(device, nowMs)) }));
      else for (const line of tableOf(devices.list(), nowMs)) terminal.out(line);
      return EXIT.ok;
    }
    const live = new LiveTable(terminal);
    while (!signal.aborted) {
      live.draw(tableOf(devices.list().toSorted(byNeed), Date.now()));
      await pause(DRAW_EVERY_MS, signal);
    }
    return EXIT.ok;
  } finally {
    client.close();
  }
}

/** Who needs somebody comes first: the table may be longer than the screen. */
export const byNeed = (a: Device, b: Device): number => needOf(a) - needOf(b);

function needOf(device: Device): number {
  if (device.state !== 'online') return 0;
  return deviceView(device, 0).degraded.length > 0 ? 1 : 2;
}

const HEAD = ['DEVICE', 'STATE', 'MODEL', 'PHASE', 'HEARTBEAT', 'DEGRADED'];

export const tableOf = (devices: readonly Device[], nowMs: number): string[] =>
  table([HEAD, ...devices.map((device) => rowOf(device, nowMs))]).split('\n');

function rowOf(device: Device, nowMs: number): string[] {
  const { state, model, phase, last_heartbeat_age_s: ageS, degraded } = deviceView(device, nowMs);
  return [device.name, state ?? '?', model ?? '-', phase ?? '-', agePhrase(ageS), degraded.join(', ') || '-'];
}

/** What others have published may be anything: nothing is taken for granted. */
function deviceView({ name, state, health, model }: Device, nowMs: number) {
  const active = model?.active ?? health?.model;
  const at = Date.parse(health?.at ?? '');
  const degraded: unknown = health?.degraded;
  return {
    device: name,
    state,
    model: active ? `${String(active.name)} ${String(active.version)}` : null,
    phase: model?.phase ?? health?.model.phase ?? null,
    last_heartbeat_age_s: Number.isNaN(at) ? null : Math.max(0, Math.round((nowMs - at) / 1000)),
    degraded: Array.isArray(degraded) ? degraded.map(String) : [],
  };
}
