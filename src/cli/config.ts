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
  const { systemTimeZone } = await import('../base/time-zone.ts');
  const redacted = redactSettings(settings);
  const warnings = (await configWarnings(settings, terminal)).map(({ warning }) => warning);
  const slots = await nextSlots(settings);
  const summary = { ok: true, digest: computeConfigDigest(settings), time_zone: systemTimeZone(), warnings };
  if (options.json === true)
    terminal.out(toJson({ ...summary, next_slots: Object.fromEntries(slots), settings: redacted }));
  else {
    for (const warning of warnings) terminal.err(`warning: ${warning}`);
    for (const line of await summarize(redacted, summary.time_zone, slots)) terminal.out(line);
  }
  return EXIT.ok;
}

/** What is ignored or unsafe in the configuration, and what to do about it. It is no fault. */
export async function configWarnings(
  { cameras }: Pick<Settings, 'cameras'>,
  { env }: Pick<Terminal, 'env'>,
): Promise<readonly { readonly warning: string; readonly remedy: string }[]> {
  const { listForeignVariables } = await import('../config/sources.ts');
  const foreign = listForeignVariables(env);
  const variables =
    foreign.length === 0
      ? []
      : [
          {
            warning: `ignored variables of the container platform: ${foreign.join(', ')}`,
            remedy: 'nothing to do; rename the service to avoid them',
          },
        ];
  const insecure = cameras
    .filter(({ tls }) => tls.insecure)
    .map(({ id }) => ({
      warning: `camera ${id} accepts any certificate (tls.insecure): an attacker in the network can read its password and replace its picture`,
      remedy: 'set tls.fingerprint256 or tls.ca instead of tls.insecure',
    }));
  return [...variables, ...insecure];
}

const SHOWN_SLOTS = 3;

/** The next slots of each camera, as local times of its zone, by camera id. */
export async function nextSlots({
  cameras,
  device,
}: Settings): Promise<ReadonlyMap<string, readonly string[]>> {
  const { nextSlotsMs } = await import('../schedule/schedule.ts');
  const { systemClock } = await import('../base/clock.ts');
  const { formatLocalTime, systemTimeZone } = await import('../base/time-zone.ts');
  return new Map(
    cameras.map(({ id, schedule, location }) => {
      const options = { schedule, location, seedId: `${device}/${id}` };
      const zone = schedule.timezone ?? systemTimeZone();
      const times = nextSlotsMs(options, { clock: systemClock, count: SHOWN_SLOTS });
      return [
        id,
        times.length === 0 ? ['no run in the next days'] : times.map((atMs) => formatLocalTime(atMs, zone)),
      ];
    }),
  );
}

async function summarize(
  { mqtt, http, stateDir, site, device, cameras }: Settings,
  timeZone: string,
  slots: ReadonlyMap<string, readonly string[]>,
): Promise<string[]> {
  const { describeSchedule } = await import('../schedule/schedule.ts');
  const broker =
    mqtt.url.length > 0
      ? mqtt.url.join(', ')
      : `embedded, ${mqtt.embedded.host}:${String(mqtt.embedded.port)}`;
  return [
    'the configuration is valid',
    `device ${site}/${device}, state in ${stateDir}`,
    `time zone ${timeZone}`,
    `broker ${broker}`,
    `http ${http.host}:${String(http.port)}${http.token === null ? '' : ', with a token'}`,
    ...(cameras.length > 0
      ? cameras.map(
          ({ id, kind, schedule }) =>
            `camera ${id}: ${kind}, ${describeSchedule(schedule)}, next ${slots.get(id)?.join(', ') ?? ''}`,
        )
      : ['no camera']),
  ];
}
