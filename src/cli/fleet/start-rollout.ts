import { closeAtEnd } from '../../base/closing.ts';
import { AgentError } from '../../base/errors.ts';
import { isTimeZone, systemTimeZone } from '../../base/time-zone.ts';
import { Devices, type Device } from '../../fleet/devices.ts';
import { Rollout, type RolloutOptions } from '../../fleet/rollout.ts';
import {
  commandOf,
  createRolloutFile,
  isPaused,
  readRollout,
  removeRollout,
  writeNewRollout,
  writeRollout,
  type RolloutAction,
  type RolloutFile,
} from '../../fleet/rollout-file.ts';
import { OperatorClient } from '../../mqtt/operator-client.ts';
import { windowEndMs, type UpdateWindow } from '../../update/window.ts';
import { EXIT, type Terminal } from '../terminal.ts';
import {
  Collection,
  operatorOptions,
  parseCount,
  parseNumber,
  parsePercent,
  selectedDevices,
  TOO_MANY_DEVICES,
  type FleetOptions,
} from './options.ts';
import { RolloutRun } from './rollout-run.ts';

const RESEND_MS = 30_000;

/** Options of every staged command. */
export interface StagedOptions extends FleetOptions {
  readonly canary: string;
  readonly batch: string;
  readonly haltOn: string;
  readonly file?: string;
  readonly wait: string;
  readonly deviceTimeout: string;
  readonly window?: string;
  readonly retryFailed?: boolean;
  readonly approve?: boolean;
}

/** Sends the command of a rollout to a device, and may handle further topics. */
export interface RolloutSender {
  /** Last levels of further topics of a device. */
  readonly topics: readonly string[];
  /** `topic`: first levels of the topics of the device, with a slash at the end. */
  argsFor(topic: string, commandId: string): object;
  receive(topic: string, payload: Buffer, retain: boolean): void;
  close(): Promise<void> | void;
}

export interface RolloutTask {
  readonly action: RolloutAction;
  /** The file of the plan; null to keep none. */
  readonly path: string | null;
  /** Opens the sender once the broker is connected. */
  readonly openSender: (client: OperatorClient) => Promise<RolloutSender> | RolloutSender;
  /** Throws for a device with which the run must not begin; nothing has been sent yet. */
  readonly checkDevice?: (device: Device) => void;
  /** False for a device that needs no command. */
  readonly takesPart?: (device: Device) => boolean;
  readonly onResult?: (device: string, result: unknown) => void;
}

/**
 * Runs an action on the selected devices in stages, each when the one before has ended. Halts automatically when too many
 * fail. Exits with 0 when every device has succeeded, else with 1.
 */
export async function runRollout(
  task: RolloutTask,
  options: StagedOptions,
  terminal: Terminal,
): Promise<number> {
  const { action, path } = task;
  const stages: RolloutOptions = {
    canaries: parseCount('canary', options.canary),
    batchPct: parsePercent('batch', options.batch, 0.1),
    haltOnPct: parsePercent('halt-on', options.haltOn, 0),
    retryFailed: options.retryFailed === true,
    oneStage: options.approve === true,
  };
  const waitMs = parseNumber('wait', options.wait, 0, 100_000) * 60_000;
  const deviceTimeoutMs = parseNumber('device-timeout', options.deviceTimeout, 0.01, 100_000) * 60_000;
  const window = options.window === undefined ? null : parseWindow(options.window);
  if (path === null && (stages.oneStage || stages.retryFailed))
    throw new AgentError('usage', '--approve and --retry-failed continue an earlier run: they need --file');
  const unused = new Set<string>();
  const isSelected = selectedDevices(options, unused);
  const before = path === null ? null : readRollout(path, action);
  const devices = new Devices(options.base, isSelected);
  const client = await OperatorClient.connect(operatorOptions(options, terminal));
  using _client = { [Symbol.dispose]: () => client.close() };
  const sender = await task.openSender(client);
  await using _sender = closeAtEnd(() => sender.close());
  let run: RolloutRun | null = null;
  const command = commandOf(action);
  const collection = new Collection();
  const topics = [`cmdres/${command}`, ...sender.topics];
  await client.subscribe([...devices.filters(), ...devices.filters(topics)], (topic, payload, retain) => {
    if (retain) collection.note();
    sender.receive(topic, payload, retain);
    devices.receive(topic, payload);
    run?.receive(topic, payload);
  });
  await collection.finish(terminal.signal);
  if (terminal.signal.aborted) return EXIT.failed;
  if (devices.isFull) terminal.err(TOO_MANY_DEVICES);
  const known = devices.list();
  const takesPart = (device: Device): boolean => task.takesPart?.(device) ?? true;
  const file = planDevices(before ?? createRolloutFile(action), known.filter(takesPart));
  const isIdle = (name: string): boolean => {
    const device = devices.find(name);
    return device !== null && !takesPart(device);
  };
  const selected = file.devices.filter((name) => isSelected(name) && !isIdle(name));
  if (selected.length === 0 && known.length === 0) throw new AgentError('usage', 'no device matches --to');
  for (const selector of unused) terminal.err(`${selector} matches no device`);
  if (selected.length === 0) terminal.err('no selected device needs this command');
  for (const device of known) if (selected.includes(device.name)) task.checkDevice?.(device);
  const save = (latest: RolloutFile): void => {
    if (path !== null) writeRollout(path, latest);
  };
  // Write the file before the first command: the ids of the commands derive from its id.
  if (path !== null && before === null) writeNewRollout(path, file);
  else save(file);
  const send = async (device: string, id: string, endMs: number | null): Promise<void> => {
    const topic = `${options.base}/${device}/`;
    const args = sender.argsFor(topic, id);
    if (endMs === null) return;
    // Neither the device nor the broker may run it after the window, which this machine no longer controls.
    const isLimited = Number.isFinite(endMs);
    const limit = isLimited ? { expires_at: new Date(endMs).toISOString() } : {};
    const expiry = isLimited ? { expiryS: Math.max(1, Math.ceil((endMs - Date.now()) / 1000)) } : {};
    await client.publish(`${topic}cmd/${command}`, JSON.stringify({ id, ...limit, args }), expiry);
  };
  const hold = (): string | null =>
    path !== null && isPaused(path) ? `paused; \`swellsight fleet resume ${path}\` continues` : null;
  run = new RolloutRun(
    {
      waitMs,
      deviceTimeoutMs,
      resendMs: RESEND_MS,
      oneStage: stages.oneStage,
      hasPlan: path !== null,
      json: options.json === true,
    },
    {
      rollout: new Rollout(stages, file, onlineFirst(selected, devices)),
      devices,
      send,
      save,
      hold,
      windowEndMs: window === null ? () => Infinity : windowEnds(window),
      onResult: task.onResult ?? (() => undefined),
      terminal,
    },
  );
  const code = await run.finish();
  if (path !== null && run.isComplete) removeRollout(path);
  return code;
}

/** Adds the devices that the plan does not have yet at its end. */
function planDevices(file: RolloutFile, found: readonly Device[]): RolloutFile {
  const added = found.map(({ name }) => name);
  return { ...file, devices: [...new Set([...file.devices, ...added])] };
}

/** Online devices before the others: an offline canary tests nothing. */
function onlineFirst(names: readonly string[], devices: Devices): string[] {
  const rank = (name: string): number => Number(devices.find(name)?.state === 'online');
  return names.toSorted((a, b) => rank(b) - rank(a));
}

function parseWindow(text: string): UpdateWindow {
  const time = '((?:[01]\\d|2[0-3]):[0-5]\\d)';
  const [, from, to] = new RegExp(`^${time}-${time}$`).exec(text) ?? [];
  if (from !== undefined && to !== undefined) return { from, to };
  throw new AgentError('usage', `--window ${text} is not HH:MM-HH:MM`);
}

/** When the window ends in the time zone of a device; computed once for each zone and second. */
function windowEnds(window: UpdateWindow): (device: Device) => number | null {
  const endsMs = new Map<string, number | null>();
  let second = 0;
  return ({ timeZone }) => {
    const nowMs = Date.now();
    if (Math.floor(nowMs / 1000) !== second) endsMs.clear();
    second = Math.floor(nowMs / 1000);
    const zone = timeZone !== null && isTimeZone(timeZone) ? timeZone : systemTimeZone();
    const known = endsMs.get(zone);
    const endMs = known === undefined ? windowEndMs(nowMs, window, zone) : known;
    endsMs.set(zone, endMs);
    return endMs;
  };
}
