import { asAgentError } from '../base/errors.ts';
import type { Settings } from '../config/schema.ts';
import type { ConfigOptions } from './options.ts';
import { EXIT, toJson, type Terminal } from './terminal.ts';

export const configFile = (options: ConfigOptions, env: NodeJS.ProcessEnv): string | null =>
  options.config ?? (env['SWELLSIGHT_CONFIG'] || null);

/** The settings for a command, including those of remote commands. Throws `config_invalid`. */
export async function loadCommandSettings(options: ConfigOptions, terminal: Terminal): Promise<Settings> {
  const { loadLocal } = await import('../config/load.ts');
  const { env, cwd } = terminal;
  return loadLocal({ file: configFile(options, env), env, cwd }).settings;
}

/** `check-config`: prints one line for each fault and exits with 78, or prints a summary of the settings. */
export async function checkConfig(
  options: ConfigOptions & { json?: boolean },
  terminal: Terminal,
): Promise<number> {
  const { getConfigFaults, formatFault } = await import('../config/faults.ts');
  let settings: Settings;
  try {
    settings = await loadCommandSettings(options, terminal);
  } catch (thrown) {
    const error = asAgentError(thrown);
    if (error.code !== 'config_invalid') throw thrown;
    const faults = getConfigFaults(error);
    if (options.json === true) terminal.out(toJson({ ok: false, faults }));
    else for (const fault of faults) terminal.err(formatFault(fault));
    return EXIT.config;
  }
  const { redactSettings, computeConfigDigest } = await import('../config/redact.ts');
  const redacted = redactSettings(settings);
  if (options.json === true)
    terminal.out(toJson({ ok: true, digest: computeConfigDigest(settings), settings: redacted }));
  else for (const line of await summarize(redacted)) terminal.out(line);
  return EXIT.ok;
}

async function summarize(settings: Settings): Promise<string[]> {
  const { createSchedule } = await import('../schedule/schedule.ts');
  const { systemClock, isoTime } = await import('../base/clock.ts');
  const { mqtt, http, stateDir, site, device } = settings;
  const broker =
    mqtt.url.length > 0
      ? mqtt.url.join(', ')
      : `embedded, ${mqtt.embedded.host}:${String(mqtt.embedded.port)}`;
  const cameras = settings.cameras.map(({ id, kind, schedule, location }) => {
    const seedId = `${device}/${id}`;
    const created = createSchedule({ schedule, location, seedId }, { clock: systemClock });
    const nextMs = created.nextRunAtMs();
    const next = nextMs === null ? 'no run in the next days' : `next ${isoTime(nextMs)}`;
    return `camera ${id}: ${kind}, ${created.description}, ${next}`;
  });
  return [
    'the configuration is valid',
    `device ${site}/${device}, state in ${stateDir}`,
    `broker ${broker}`,
    `http ${http.host}:${String(http.port)}${http.token === null ? '' : ', with a token'}`,
    ...(cameras.length > 0 ? cameras : ['no camera']),
  ];
}
