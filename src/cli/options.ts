import { readFileSync } from 'node:fs';
import { Option } from 'commander';
import { AgentError } from '../base/errors.ts';

/** Runs a command with the arguments and options of commander, then the terminal. Resolves with the exit code. */
type RunCommand = (...args: never[]) => Promise<number>;

/** Returns an action for commander that selects the command. It is loaded and run after parsing. */
export type SelectCommand = (load: () => Promise<RunCommand>) => (...args: unknown[]) => void;

export interface ConfigOptions {
  /** `--config`; else `SWELLSIGHT_CONFIG`; else only defaults and environment. */
  readonly config?: string;
}

export const configOption = (): Option =>
  new Option('-c, --config <file>', 'configuration file, JSON5 or YAML (or SWELLSIGHT_CONFIG)');
export const jsonOption = (): Option => new Option('--json', 'print JSON');
export const modelOption = (): Option =>
  new Option('--model <dir>', 'model bundle (default: the configured model)');

/** Collects the values of an option that may be repeated. */
export const collectValues = (value: string, before: readonly string[]): string[] => [...before, value];

/** Reads the file of an option. Throws `usage` for an unreadable file. */
export function readOptionFile(label: string, path: string): string {
  try {
    return readFileSync(path, 'utf8');
  } catch (cause) {
    throw new AgentError('usage', `the ${label} file ${path} cannot be read`, { cause });
  }
}
