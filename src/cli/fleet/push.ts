import { resolve } from 'node:path';
import { Value } from '@sinclair/typebox/value';
import { AgentError } from '../../base/errors.ts';
import { ModelName, ModelVersion, updateIdOf } from '../../contract/model.ts';
import type { Device } from '../../fleet/devices.ts';
import { describeAction, type RolloutAction } from '../../fleet/rollout-file.ts';
import { BlockSender } from '../../mqtt/blocks/block-sender.ts';
import type { OperatorClient } from '../../mqtt/operator-client.ts';
import type { Terminal } from '../terminal.ts';
import { runRollout, type RolloutSender, type StagedOptions } from './start-rollout.ts';

export interface PushOptions extends StagedOptions {
  /** The version of the agent to install instead of a model. */
  readonly agent?: string;
  readonly over?: readonly string[];
  readonly digest?: string;
  /** The operator's repository. */
  readonly repo?: string;
  readonly clearFailed?: boolean;
}

/**
 * `fleet push NAME VERSION` or `fleet push --agent VERSION`: installs the model or the agent on the canaries, then on one
 * batch after the other. A second run asks the devices again and continues.
 */
export async function pushToFleet(
  modelName: string | undefined,
  modelVersion: string | undefined,
  options: PushOptions,
  terminal: Terminal,
): Promise<number> {
  const names = [modelName, modelVersion].filter((text) => text !== undefined);
  const action = parseTarget(names, options);
  const archive = parseArchive(options.over);
  const name = action.kind === 'agent' ? 'agent' : action.name;
  const path = options.file ?? `rollout-${name}-${action.version}.json`;
  const openSender = async (client: OperatorClient): Promise<RolloutSender> =>
    createSender(action, options, archive === null ? null : await openArchive(archive, client));
  const digests = await findDigests(action, archive, options, terminal);
  const checkDevice = (device: Device): void => checkDigest(action, digests, device);
  return runRollout({ action, path, openSender, checkDevice }, options, terminal);
}

type InstallAction = Exclude<RolloutAction, { readonly kind: 'command' }>;

/**
 * The digests that the version may have: those of --repo or of the archive, or --digest. Null when nothing states one. Throws
 * `usage` when --digest differs from the signed ones, so that no device is asked to install other bytes.
 */
async function findDigests(
  action: InstallAction,
  archive: string | null,
  { digest, repo }: PushOptions,
  { cwd, signal }: Terminal,
): Promise<readonly string[] | null> {
  if (digest !== undefined && !/^sha256:[0-9a-f]{64}$/.test(digest))
    throw new AgentError('usage', `--digest ${digest} is not sha256: and 64 hexadecimal digits`);
  const wanted = { name: action.kind === 'model' ? action.name : null, version: action.version };
  const { readExportedDigests, readSignedDigests } = await import('../../model/repository/signed-digests.ts');
  const signed =
    repo !== undefined
      ? await readSignedDigests(resolve(cwd, repo), wanted, signal)
      : archive === null
        ? null
        : await readExportedDigests(archive, wanted, signal).catch(unreadable(archive));
  if (signed === null) return digest === undefined ? null : [digest];
  if (digest === undefined || signed.includes(digest)) return signed;
  throw new AgentError(
    'usage',
    `--digest differs from the digest of ${describeAction(action)} in ${repo ?? String(archive)}: ${signed.join(', ')}`,
  );
}

/** Throws `usage` when the device runs the version with other bytes: it would count as installed. */
function checkDigest(action: InstallAction, digests: readonly string[] | null, device: Device): void {
  const runs =
    action.kind === 'agent'
      ? device.agent?.running
      : device.model?.active?.name === action.name
        ? device.model.active
        : null;
  if (runs?.version !== action.version || runs.digest === null || digests?.includes(runs.digest) !== false)
    return;
  throw new AgentError(
    'usage',
    `${device.name} runs ${describeAction(action)} with another digest: ${runs.digest}`,
    { hint: 'install a version that is published once, or leave the device out with --except' },
  );
}

function createSender(
  action: InstallAction,
  { digest, clearFailed }: PushOptions,
  blocks: BlockSender | null,
): RolloutSender {
  const args = {
    ...(action.kind === 'model' ? { name: action.name } : {}),
    version: action.version,
    ...(digest === undefined ? {} : { digest }),
    ...(clearFailed === true ? { clear_failed: true } : {}),
    source: blocks
      ? { kind: 'mqtt', size_bytes: blocks.sizeBytes, digest: blocks.digest }
      : { kind: 'repository' },
  };
  return {
    topics: blocks ? ['model/blocks/request'] : [],
    argsFor: (topic, commandId) => {
      blocks?.serve(topic, updateIdOf(commandId));
      return args;
    },
    receive: (topic, payload, retain) => blocks?.receive(topic, payload, retain),
    close: () => blocks?.close(),
  };
}

async function openArchive(path: string, client: OperatorClient): Promise<BlockSender> {
  try {
    return await BlockSender.open(path, { publish: (topic, payload) => client.publish(topic, payload) });
  } catch (error) {
    return unreadable(path)(error);
  }
}

const unreadable =
  (path: string) =>
  (cause: unknown): never => {
    if (cause instanceof AgentError) throw cause;
    throw new AgentError('usage', `the file ${path} cannot be read`, { cause });
  };

function parseTarget(names: readonly string[], { agent, clearFailed }: PushOptions): InstallAction {
  const [name, version] = names;
  if (agent !== undefined) {
    if (names.length > 0 || !Value.Check(ModelVersion, agent))
      throw new AgentError('usage', `--agent ${agent} needs a version, and no model`);
    if (clearFailed === true)
      throw new AgentError('usage', '--clear-failed: a version of the agent that failed stays refused');
    return { kind: 'agent', version: agent };
  }
  if (!Value.Check(ModelName, name) || !Value.Check(ModelVersion, version) || names.length !== 2)
    throw new AgentError('usage', `${names.join(' ')} is not a name and version of a model`);
  return { kind: 'model', name, version };
}

function parseArchive(over: readonly string[] | undefined): string | null {
  if (over === undefined) return null;
  const [transport, file] = over;
  if (transport === 'mqtt' && file !== undefined && over.length === 2) return file;
  throw new AgentError('usage', '--over needs: mqtt FILE, with a FILE of `swellsight repo export`');
}
