import { AgentError } from '../../base/errors.ts';
import { computeConfigDigest } from '../../config/redact.ts';
import { describeSettings, type SourcedSetting } from '../../config/setting-sources.ts';
import { configFile, loadConfiguration, remoteWarnings } from '../config.ts';
import { formatTable } from '../format.ts';
import type { ConfigOptions } from '../options.ts';
import { EXIT, printJson, type Terminal } from '../terminal.ts';

/** `config show [KEY]`: the settings in force, without secrets. Reads the files; needs no running agent. */
export async function showConfig(
  key: string | undefined,
  options: ConfigOptions & { readonly json?: boolean },
  terminal: Terminal,
): Promise<number> {
  const configuration = await loadConfiguration(options, terminal);
  const settings = describeSettings(configuration).filter(
    (setting) => key === undefined || setting.key === key || setting.key.startsWith(`${key}.`),
  );
  if (settings.length === 0) throw new AgentError('usage', `there is no setting ${key ?? ''}`);
  const warnings = remoteWarnings(configuration).map(({ warning }) => warning);
  const file = configFile(options, terminal.env);
  if (options.json === true) {
    const digest = computeConfigDigest(configuration.settings);
    return printJson(terminal, { file, digest, warnings, settings });
  }
  for (const warning of warnings) terminal.err(`warning: ${warning}`);
  terminal.out(
    formatTable(settings.map((setting) => [setting.key, toText(setting.value), formatSource(setting)])),
  );
  return EXIT.ok;
}

const toText = (value: unknown): string => (typeof value === 'string' ? value : JSON.stringify(value));

const formatSource = ({ source, local }: SourcedSetting): string =>
  local === null ? source : `${source} (${local.source}: ${toText(local.value)})`;
