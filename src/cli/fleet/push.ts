import { Value } from '@sinclair/typebox/value';
import type { Devices } from '../../fleet/devices.ts';
import { ModelName, ModelVersion } from '../../contract/model.ts';
import { AgentError } from '../../base/errors.ts';
import { Rollout, commandIdOf, newRollout, type RolloutFile, type RolloutPlan } from '../../fleet/rollout.ts';
import { readRollout, saveRollout } from '../../fleet/rollout-file.ts';
import { BlockSender } from '../../mqtt/blocks/block-sender.ts';
import { updateIdOf } from '../../contract/model.ts';
import { OperatorClient } from '../../mqtt/operator-client.ts';
import { PushRun } from './push-run.ts';
import { devicesOf, operatorOptions, pause, type FleetOptions } from './options.ts';
import { EXIT, type Terminal } from '../terminal.ts';

export interface PushOptions extends FleetOptions {
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

/** What is retained has come by then. */
const GATHER_MS = 3000;

/**
 * `fleet push NAME VERSION`: canaries first, then batch after batch, each when the one before is committed; stops by
 * itself when too many fail. The rollout's file makes it go on where it was, and safe to run twice. 0 when every device
 * has the model, else 1.
 */
export async function fleetPush(
  name: string,
  version: string,
  options: PushOptions,
  terminal: Terminal,
): Promise<number> {
  if (!Value.Check(ModelName, name) || !Value.Check(ModelVersion, version))
    throw new AgentError('usage', `${name} ${version} is no name and version of a model`);
  const plan: RolloutPlan = {
    canaries: numberOf('canary', options.canary, 0, 100_000),
    batchPct: numberOf('batch', options.batch, 0.1, 100),
    haltOnPct: numberOf('halt-on', options.haltOn, 0, 100),
  };
  const waitMs = numberOf('wait', options.wait, 0, 100_000) * 60_000;
  const deviceTimeoutMs = numberOf('device-timeout', options.deviceTimeout, 0.01, 100_000) * 60_000;
  const path = options.file ?? `rollout-${name}-${version}.json`;
  const before = readRollout(path);
  const wanted = { name, version, to: options.to };
  if (before && (before.name !== name || before.version !== version || before.to !== options.to))
    throw new AgentError(
      'usage',
      `${path} is the rollout of ${before.name} ${before.version} to ${before.to}: name another one with --file`,
    );
  if (before?.halted === true)
    throw new AgentError('usage', `${path} was halted for its failures: begin another one with --file`);
  const archive = archiveOf(options.over);
  const devices = devicesOf(options);
  const client = await OperatorClient.connect(operatorOptions(options, terminal));
  let opened: BlockSender | null = null;
  try {
    if (archive !== null) opened = await openArchive(archive, client);
    const sender = opened;
    let run: PushRun | null = null;
    const filters = [
      ...devices.filters,
      `${options.base}/+/+/cmdres/model.install`,
      ...(sender ? [`${options.base}/+/+/model/blocks/request`] : []),
    ];
    await client.subscribe(filters, (topic, payload, retain) => {
      sender?.receive(topic, payload, retain);
      devices.receive(topic, payload);
      run?.receive(topic, payload);
    });
    await pause(GATHER_MS, terminal.signal);
    if (terminal.signal.aborted) return EXIT.failed;
    const file = before ?? begin(wanted, devices, path);
    const send = async (device: string): Promise<void> => {
      const id = commandIdOf(file, device);
      const topic = `${options.base}/${device}/`;
      sender?.serve(topic, updateIdOf(id));
      const args = {
        name,
        version,
        ...(options.digest === undefined ? {} : { digest: options.digest }),
        ...(options.clearFailed === true ? { clear_failed: true } : {}),
        source: sender
          ? { kind: 'mqtt', size_bytes: sender.sizeBytes, digest: sender.digest }
          : { kind: 'repository' },
      };
      await client.publish(`${topic}cmd/model.install`, JSON.stringify({ id, args }));
    };
    const save = (now: RolloutFile): void => saveRollout(path, now);
    run = new PushRun(
      { waitMs, deviceTimeoutMs, json: options.json === true },
      { rollout: new Rollout(plan, file), devices, send, save, terminal },
    );
    return await run.toTheEnd();
  } finally {
    await opened?.close();
    client.close();
  }
}

async function openArchive(path: string, client: OperatorClient): Promise<BlockSender> {
  try {
    return await BlockSender.open(path, { publish: (topic, payload) => client.publish(topic, payload) });
  } catch (error) {
    throw new AgentError('usage', `the file ${path} cannot be read`, { cause: error });
  }
}

function begin(
  wanted: Pick<RolloutFile, 'name' | 'version' | 'to'>,
  devices: Devices,
  path: string,
): RolloutFile {
  // Who is there first: a canary that is away proves nothing.
  const found = [...devices.list()].sort(
    (a, b) => Number(b.state === 'online') - Number(a.state === 'online'),
  );
  if (found.length === 0) throw new AgentError('usage', 'no device fits --to');
  const file = newRollout(
    wanted,
    found.map((device) => device.name),
  );
  // Before anything is sent: the ids of its commands come from it.
  saveRollout(path, file);
  return file;
}

function numberOf(option: string, text: string, least: number, most: number): number {
  const value = Number(text.replace(/%$/, ''));
  if (text.trim() !== '' && value >= least && value <= most) return value;
  throw new AgentError('usage', `--${option} ${text} is not between ${String(least)} and ${String(most)}`);
}

function archiveOf(over: readonly string[] | undefined): string | null {
  if (over === undefined) return null;
  const [way, file] = over;
  if (way === 'mqtt' && file !== undefined && over.length === 2) return file;
  throw new AgentError('usage', '--over wants: mqtt FILE, where `swellsight repo export` made FILE');
}
