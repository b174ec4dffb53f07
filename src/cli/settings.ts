import type { Settings } from '../config/schema.ts';
import type { Terminal } from './terminal.ts';

export interface ConfigOptions {
  /** `--config`; else `SWELLSIGHT_CONFIG`; else defaults and environment alone. */
  readonly config?: string;
}

export const configFile = (options: ConfigOptions, env: NodeJS.ProcessEnv): string | null =>
  options.config ?? (env['SWELLSIGHT_CONFIG'] || null);

/** The settings that a command runs with, what remote commands have set included. Throws `config_invalid`. */
export async function settingsFor(options: ConfigOptions, terminal: Terminal): Promise<Settings> {
  const { loadLocal } = await import('../config/load.ts');
  const { env, cwd } = terminal;
  return loadLocal({ file: configFile(options, env), env, cwd }).settings;
}
