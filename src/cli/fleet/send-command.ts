import { fullFormats } from 'ajv-formats/dist/formats.js';
import { createHash } from 'node:crypto';
import { mkdirSync, writeFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { AgentError, asAgentError } from '../../base/errors.ts';
import { schemaChecker } from '../../base/schema-checker.ts';
import type { ConfigFault } from '../../config/faults.ts';
import { parseJson5, readSettingsFile } from '../../config/sources.ts';
import { COMMAND_ARGS } from '../../contract/command.ts';
import { CONFIRM_WITHIN_S } from '../../contract/config.ts';
import { setPaused } from '../../fleet/rollout-file.ts';
import { EXIT, toJson, type Terminal } from '../terminal.ts';
import { parseNumber } from './options.ts';
import { runRollout, type RolloutTask, type StagedOptions } from './start-rollout.ts';

export interface CommandOptions extends StagedOptions {
  /** The directory for the result of each device. */
  readonly out?: string;
}

/** `fleet command NAME [ARGS]`: sends any command to the devices in stages, and waits for the result of each. */
export async function sendToFleet(
  command: string,
  argsText: string | undefined,
  options: CommandOptions,
  terminal: Terminal,
): Promise<number> {
  const args = argsText === undefined ? {} : readObject('arguments', argsText, terminal);
  return sendCommand(command, args, options, terminal);
}

/** A command without arguments. */
export const fleetCommand =
  (command: keyof typeof COMMAND_ARGS) =>
  (options: CommandOptions, terminal: Terminal): Promise<number> =>
    sendCommand(command, {}, options, terminal);

export interface RollbackOptions extends CommandOptions {
  /** True for any version of the agent. */
  readonly agent?: string | true;
}

/**
 * `fleet rollback [NAME VERSION]`, `fleet rollback --agent [VERSION]`: a device with another version does not take part, so
 * that a second run does not roll back twice.
 */
export async function rollBackFleet(
  name: string | undefined,
  version: string | undefined,
  options: RollbackOptions,
  terminal: Terminal,
): Promise<number> {
  const { agent } = options;
  if ((name === undefined) !== (version === undefined) || (name !== undefined && agent !== undefined))
    throw new AgentError('usage', 'wanted: no version, NAME VERSION, or --agent VERSION');
  if (agent !== undefined)
    return sendCommand('agent.rollback', {}, options, terminal, {
      takesPart: (device) => agent === true || device.agent?.running.version === agent,
    });
  return sendCommand('model.rollback', {}, options, terminal, {
    takesPart: ({ model }) =>
      name === undefined || (model?.active?.name === name && model.active.version === version),
  });
}

export interface ConfigSetOptions extends CommandOptions {
  readonly confirmWithin: string;
}

/** `fleet config set PATCH`: changes the configuration on trial; `fleet config confirm` keeps it. */
export async function setFleetConfig(
  patchText: string,
  options: ConfigSetOptions,
  terminal: Terminal,
): Promise<number> {
  const { minimum, maximum } = CONFIRM_WITHIN_S;
  const withinS = parseNumber('confirm-within', options.confirmWithin, minimum, maximum);
  const args = { patch: readObject('patch', patchText, terminal), confirm_within_s: withinS };
  const onTrial: string[] = [];
  const code = await sendCommand('config.set', args, options, terminal, {
    onResult: (device) => onTrial.push(device),
  });
  if (onTrial.length > 0 && options.json !== true)
    terminal.err(
      `on trial: each device undoes the change after ${String(withinS)} s, unless \`swellsight fleet config confirm\` keeps it`,
    );
  return code;
}

/** `fleet pause FILE` and `fleet resume FILE`: hold or continue a rollout, also one that runs. */
export const pauseRollout =
  (paused: boolean) =>
  (file: string, { json }: { readonly json?: boolean }, terminal: Terminal): Promise<number> => {
    setPaused(resolve(terminal.cwd, file), paused);
    terminal.out(json === true ? toJson({ file, paused }) : `${file}: ${paused ? 'paused' : 'continues'}`);
    return Promise.resolve(EXIT.ok);
  };

async function sendCommand(
  command: string,
  args: Record<string, unknown>,
  options: CommandOptions,
  terminal: Terminal,
  { takesPart, onResult }: Partial<Pick<RolloutTask, 'takesPart' | 'onResult'>> = {},
): Promise<number> {
  const schema = Object.hasOwn(COMMAND_ARGS, command)
    ? COMMAND_ARGS[command as keyof typeof COMMAND_ARGS]
    : null;
  if (schema === null)
    throw new AgentError('usage', `${command} is not a command`, {
      hint: `commands: ${Object.keys(COMMAND_ARGS).join(', ')}`,
    });
  const check = schemaChecker({ strict: false, formats: fullFormats }).compile(schema);
  if (!check(args)) {
    const [fault] = check.errors ?? [];
    const place = fault?.instancePath.slice(1) || 'arguments';
    const allowed = (fault?.params['allowedValues'] ?? []) as readonly unknown[];
    const values = allowed.length === 0 ? '' : `: ${allowed.join(', ')}`;
    throw new AgentError('usage', `${command}: ${place}: ${fault?.message ?? 'invalid'}${values}`);
  }
  const { out } = options;
  const dir = out === undefined ? null : createDirectory(resolve(terminal.cwd, out));
  const unstored: string[] = [];
  const code = await runRollout(
    {
      action: { kind: 'command', command, argsDigest: digestOf(args) },
      // Without a file, each run is a new rollout: an answer of an earlier one must not count for this one.
      path: options.file ?? null,
      ...(takesPart ? { takesPart } : {}),
      openSender: () => ({
        topics: [],
        argsFor: () => args,
        receive: () => undefined,
        close: () => undefined,
      }),
      onResult: (device, result) => {
        onResult?.(device, result);
        if (dir === null) return;
        // No name of a device contains a plus.
        const file = join(dir, `${device.replaceAll('/', '+')}.json`);
        try {
          writeFileSync(file, `${JSON.stringify(result ?? null, null, 2)}\n`);
        } catch (thrown) {
          unstored.push(device);
          terminal.err(`the result of ${device} cannot be stored: ${asAgentError(thrown).message}`);
        }
      },
    },
    options,
    terminal,
  );
  return unstored.length === 0 ? code : EXIT.failed;
}

const digestOf = (args: object): string => createHash('sha256').update(JSON.stringify(args)).digest('hex');

function createDirectory(path: string): string {
  try {
    mkdirSync(path, { recursive: true });
    return path;
  } catch (cause) {
    throw new AgentError('usage', `the directory ${path} cannot be created`, { cause });
  }
}

/** An object as JSON5 text, or in a file of JSON5 or YAML. */
function readObject(label: string, text: string, { cwd }: Terminal): Record<string, unknown> {
  const faults: ConfigFault[] = [];
  const value = text.trimStart().startsWith('{')
    ? parseArgument(label, text)
    : readSettingsFile(resolve(cwd, text), faults);
  const [fault] = faults;
  if (fault !== undefined)
    throw new AgentError('usage', `${text}: ${fault.given}, wanted ${fault.wanted}, or an object in JSON5`);
  if (typeof value === 'object' && value !== null && !Array.isArray(value))
    return value as Record<string, unknown>;
  throw new AgentError('usage', `the ${label} are not an object`);
}

function parseArgument(label: string, text: string): unknown {
  try {
    return parseJson5(text);
  } catch (cause) {
    throw new AgentError('usage', `the ${label} are not JSON5: ${String(cause)}`, { cause });
  }
}
