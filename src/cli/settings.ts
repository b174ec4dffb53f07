import type { Settings } from '../config/schema.ts';
import type { Terminal } from './terminal.ts';

export interface ConfigOptions {
  /** `--config`; else `SWELLSIGHT_CONFIG`; else defaults and environment alone. */
  readonly config?: string;
}

/** The settings that a command runs with. Throws `config_invalid`. */
export async function settingsFor(options: ConfigOptions, terminal: Terminal): Promise<Settings> {
  const { loadSettings } = await import('../config/load.ts');
  return loadSettings({
    file: options.config ?? (terminal.env['SWELLSIGHT_CONFIG'] || null),
    env: terminal.env,
    cwd: terminal.cwd,
  });
}
