import { Option, type Command } from 'commander';
import { DEFAULT_URL } from './agent/client.ts';
import type { Terminal } from './terminal.ts';

/** Stores the command that the arguments name. It runs after parsing and resolves with the exit code. */
export type SelectCommand = (run: (terminal: Terminal) => Promise<number>) => void;

export interface ConfigOptions {
  /** `--config`; else `SWELLSIGHT_CONFIG`; else only defaults and environment. */
  readonly config?: string;
}

export const configOption = (): Option =>
  new Option('-c, --config <file>', 'configuration file, JSON5 or YAML (or SWELLSIGHT_CONFIG)');
export const jsonOption = (): Option => new Option('--json', 'print JSON');
export const modelOption = (): Option =>
  new Option('--model <dir>', 'model bundle (default: the configured model)');

/** Adds the options of a command that sends requests to a running agent. */
export const addAgentOptions = (command: Command): Command =>
  command
    .option('--url <url>', `address of the agent (or SWELLSIGHT_URL; default: ${DEFAULT_URL})`)
    .option('--token-file <file>', 'file of its bearer token (or SWELLSIGHT_TOKEN, SWELLSIGHT_TOKEN_FILE)')
    .option('--token <token>', 'its bearer token; other users of this machine can see it')
    .addOption(jsonOption());

/** Collects the values of an option that may be repeated. */
export const collectValues = (value: string, before: readonly string[]): string[] => [...before, value];
