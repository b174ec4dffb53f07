import { Type, type Static } from '@sinclair/typebox';
import { Value } from '@sinclair/typebox/value';
import { randomUUID } from 'node:crypto';
import { existsSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { dirname } from 'node:path';
import { isDeepStrictEqual } from 'node:util';
import { replaceFile, syncDirectory } from '../base/atomic-file.ts';
import { AgentError, asAgentError } from '../base/errors.ts';

const Text = Type.String();
const ActionSchema = Type.Union([
  Type.Object({ kind: Type.Literal('model'), name: Text, version: Text }),
  Type.Object({ kind: Type.Literal('agent'), version: Text }),
  Type.Object({
    kind: Type.Literal('command'),
    command: Text,
    /** SHA-256 of the arguments, which may have secrets. */
    argsDigest: Text,
  }),
]);
const RolloutSchema = Type.Object({
  format: Type.Literal(2),
  id: Text,
  action: ActionSchema,
  /** The devices in the order of the rollout. */
  devices: Type.Array(Text),
  /** Number of the attempt, for devices with more than one. */
  attempts: Type.Record(Text, Type.Integer({ minimum: 2 })),
});

/** What a rollout does on each device. */
export type RolloutAction = Readonly<Static<typeof ActionSchema>>;

/**
 * The plan of a rollout. It has no results: the devices report their own state. With it, a second run keeps the order of
 * the devices and the ids of the commands, so that no device runs a command twice.
 */
export type RolloutFile = Readonly<Static<typeof RolloutSchema>>;

export const createRolloutFile = (action: RolloutAction): RolloutFile => ({
  format: 2,
  id: randomUUID(),
  action,
  devices: [],
  attempts: {},
});

/** `gauge 2.0.0`, `agent 1.3.0`, `restart`. */
export function describeAction(action: RolloutAction): string {
  if (action.kind === 'command') return action.command;
  return action.kind === 'agent' ? `agent ${action.version}` : `${action.name} ${action.version}`;
}

/** The command that the action sends. */
export const commandOf = (action: RolloutAction): string =>
  action.kind === 'command' ? action.command : `${action.kind}.install`;

/** Returns null when the file does not exist. Throws `usage` for any other file, so that it is not overwritten. */
export function readRollout(path: string, action: RolloutAction): RolloutFile | null {
  let text: string;
  try {
    text = readFileSync(path, 'utf8');
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return null;
    throw new AgentError('usage', `${path} cannot be read`, { cause: error });
  }
  const file = parseRollout(text);
  if (file === null)
    throw new AgentError('usage', `${path} is not a rollout file; choose another one with --file`);
  if (isDeepStrictEqual(file.action, action)) return file;
  throw new AgentError(
    'usage',
    `${path} is the rollout of ${describeAction(file.action)} with other arguments or another version; choose another file with --file`,
  );
}

function parseRollout(text: string): RolloutFile | null {
  try {
    const value: unknown = JSON.parse(text);
    return Value.Check(RolloutSchema, value) ? value : null;
  } catch {
    return null;
  }
}

const toText = (file: RolloutFile): string => `${JSON.stringify(file, null, 2)}\n`;

/** Creates the file of a new plan durably. Throws `usage` when another run has created it meanwhile, or it cannot be written. */
export function writeNewRollout(path: string, file: RolloutFile): void {
  try {
    writeFileSync(path, toText(file), { flag: 'wx', mode: 0o600, flush: true });
    syncDirectory(dirname(path));
  } catch (cause) {
    if ((cause as NodeJS.ErrnoException).code === 'EEXIST')
      throw new AgentError('usage', `another run has just created ${path}`, {
        hint: 'wait until it has ended; the same command then continues it',
        cause,
      });
    rmSync(path, { force: true });
    throw unwritable(path, cause);
  }
}

/** Replaces the file durably before it returns. Throws `usage` when it cannot be written. */
export function writeRollout(path: string, file: RolloutFile): void {
  try {
    replaceFile(path, toText(file));
  } catch (cause) {
    throw unwritable(path, cause);
  }
}

const unwritable = (path: string, cause: unknown): AgentError =>
  new AgentError('usage', `${path} cannot be written: ${asAgentError(cause).message}`, {
    hint: 'make room on the disk, or name another file with --file; without the plan, no command is sent',
    cause,
  });

const pausePath = (path: string): string => `${path}.paused`;

/** The mark is a file of its own, because a running rollout writes the other one. */
export const isPaused = (path: string): boolean => existsSync(pausePath(path));

/** Pauses or resumes a rollout, also one that runs. Throws `usage` when there is no such rollout. */
export function setPaused(path: string, paused: boolean): void {
  if (!existsSync(path)) throw new AgentError('usage', `there is no rollout file ${path}`);
  if (paused) writeFileSync(pausePath(path), '');
  else rmSync(pausePath(path), { force: true });
}

/** Removes the plan of a rollout that is complete. */
export function removeRollout(path: string): void {
  rmSync(path, { force: true });
  rmSync(pausePath(path), { force: true });
}
