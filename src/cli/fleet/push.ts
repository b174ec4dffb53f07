import { Value } from '@sinclair/typebox/value';
import { closeAtEnd } from '../../base/closing.ts';
import { AgentError } from '../../base/errors.ts';
import { ModelName, ModelVersion, updateIdOf } from '../../contract/model.ts';
import { Devices } from '../../fleet/devices.ts';
import { createRolloutFile, Rollout, rolloutCommandId, type RolloutPlan } from '../../fleet/rollout.ts';
import {
  readRollout,
  writeRollout,
  type RolloutFile,
  type RolloutSubject,
} from '../../fleet/rollout-file.ts';
import { BlockSender } from '../../mqtt/blocks/block-sender.ts';
import { OperatorClient } from '../../mqtt/operator-client.ts';
import { EXIT, type Terminal } from '../terminal.ts';
import { PushRun } from './push-run.ts';
import { operatorOptions, pause, TOO_MANY_DEVICES, type FleetOptions } from './options.ts';

export interface PushOptions extends FleetOptions {
  /** The version of the agent to install instead of a model. */
  readonly agent?: string;
  readonly canary: string;
  readonly batch: string;
  readonly haltOn: string;
  readonly over?: readonly string[];
  readonly file?: string;
  readonly digest?: string;
  readonly clearFailed?: boolean;
  readonly wait: string;
  readonly deviceTimeout: string;
}

/** Retained messages arrive within this time. */
const COLLECT_MS = 3000;

/** What a push installs. */
interface PushTarget {
  readonly subject: RolloutSubject;
  readonly name: string;
  readonly version: string;
}

/**
 * `fleet push NAME VERSION` or `fleet push --agent VERSION`: installs the model or the agent on the canaries, then on one batch after the other; each starts when the one
 * before is committed. Halts automatically when too many installs fail. A second run with the same rollout file continues.
 * Exits with 0 when every device has the version, else with 1.
 */
export async function pushToFleet(
  modelName: string | undefined,
  modelVersion: string | undefined,
  options: PushOptions,
  terminal: Terminal,
): Promise<number> {
  const names = [modelName, modelVersion].filter((text) => text !== undefined);
  const { subject, name, version } = parseTarget(names, options);
  const plan: RolloutPlan = {
    canaries: parseNumber('canary', options.canary, 0, 100_000),
    batchPct: parseNumber('batch', options.batch, 0.1, 100),
    haltOnPct: parseNumber('halt-on', options.haltOn, 0, 100),
  };
  const waitMs = parseNumber('wait', options.wait, 0, 100_000) * 60_000;
  const deviceTimeoutMs = parseNumber('device-timeout', options.deviceTimeout, 0.01, 100_000) * 60_000;
  const path = options.file ?? `rollout-${name}-${version}.json`;
  const before = readRollout(path);
  const isOther =
    before?.name !== name || before.version !== version || (before.subject ?? 'model') !== subject;
  if (before && (isOther || before.to !== options.to))
    throw new AgentError(
      'usage',
      `${path} is the rollout of ${before.name} ${before.version} to ${before.to}; choose another file with --file`,
    );
  if (before?.halted === true)
    throw new AgentError(
      'usage',
      `${path} was halted because of failures; start another rollout with --file`,
    );
  const archive = parseArchive(options.over);
  const devices = new Devices(options.base, options.to);
  const client = await OperatorClient.connect(operatorOptions(options, terminal));
  using _client = { [Symbol.dispose]: () => client.close() };
  const sender = archive === null ? null : await openArchive(archive, client);
  await using _sender = closeAtEnd(() => sender?.close());
  let run: PushRun | null = null;
  const filters = [
    ...devices.filters,
    `${options.base}/+/+/cmdres/${subject}.install`,
    ...(sender ? [`${options.base}/+/+/model/blocks/request`] : []),
  ];
  await client.subscribe(filters, (topic, payload, retain) => {
    sender?.receive(topic, payload, retain);
    devices.receive(topic, payload);
    run?.receive(topic, payload);
  });
  await pause(COLLECT_MS, terminal.signal);
  if (terminal.signal.aborted) return EXIT.failed;
  if (devices.isFull) terminal.err(TOO_MANY_DEVICES);
  const file = before ?? startRollout({ subject, name, version, to: options.to }, devices, path);
  const send = async (device: string): Promise<void> => {
    const id = rolloutCommandId(file, device);
    const topic = `${options.base}/${device}/`;
    sender?.serve(topic, updateIdOf(id));
    const args = {
      ...(subject === 'model' ? { name } : {}),
      version,
      ...(options.digest === undefined ? {} : { digest: options.digest }),
      ...(options.clearFailed === true ? { clear_failed: true } : {}),
      source: sender
        ? { kind: 'mqtt', size_bytes: sender.sizeBytes, digest: sender.digest }
        : { kind: 'repository' },
    };
    await client.publish(`${topic}cmd/${subject}.install`, JSON.stringify({ id, args }));
  };
  const save = (latest: RolloutFile): void => writeRollout(path, latest);
  run = new PushRun(
    { waitMs, deviceTimeoutMs, json: options.json === true },
    { rollout: new Rollout(plan, file), devices, send, save, terminal },
  );
  return await run.finish();
}

async function openArchive(path: string, client: OperatorClient): Promise<BlockSender> {
  try {
    return await BlockSender.open(path, { publish: (topic, payload) => client.publish(topic, payload) });
  } catch (error) {
    throw new AgentError('usage', `the file ${path} cannot be read`, { cause: error });
  }
}

function startRollout(
  rollout: Pick<RolloutFile, 'subject' | 'name' | 'version' | 'to'>,
  devices: Devices,
  path: string,
): RolloutFile {
  // Online devices first: an offline canary tests nothing.
  const found = [...devices.list()].sort(
    (a, b) => Number(b.state === 'online') - Number(a.state === 'online'),
  );
  if (found.length === 0) throw new AgentError('usage', 'no device matches --to');
  const file = createRolloutFile(
    rollout,
    found.map((device) => device.name),
  );
  // Write the file before the first command: the ids of the commands derive from its id.
  writeRollout(path, file);
  return file;
}

function parseTarget(names: readonly string[], { agent, clearFailed }: PushOptions): PushTarget {
  const [name, version] = names;
  if (agent !== undefined) {
    if (names.length > 0 || !Value.Check(ModelVersion, agent))
      throw new AgentError('usage', `--agent ${agent} needs a version, and no model`);
    if (clearFailed === true)
      throw new AgentError('usage', '--clear-failed: a version of the agent that failed stays refused');
    return { subject: 'agent', name: 'agent', version: agent };
  }
  if (!Value.Check(ModelName, name) || !Value.Check(ModelVersion, version) || names.length !== 2)
    throw new AgentError('usage', `${names.join(' ')} is not a name and version of a model`);
  return { subject: 'model', name, version };
}

function parseNumber(option: string, text: string, min: number, max: number): number {
  const value = Number(text.replace(/%$/, ''));
  if (text.trim() !== '' && value >= min && value <= max) return value;
  throw new AgentError('usage', `--${option} ${text} is not between ${String(min)} and ${String(max)}`);
}

function parseArchive(over: readonly string[] | undefined): string | null {
  if (over === undefined) return null;
  const [transport, file] = over;
  if (transport === 'mqtt' && file !== undefined && over.length === 2) return file;
  throw new AgentError('usage', '--over needs: mqtt FILE, with a FILE of `swellsight repo export`');
}
