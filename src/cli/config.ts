import { asAgentError } from '../base/errors.ts';
import type { LocalConfiguration } from '../config/load.ts';
import type { Settings } from '../config/schema.ts';
import type { SettingSources } from '../config/setting-sources.ts';
import type { ConfigOptions } from './options.ts';
import { EXIT, toJson, type Terminal } from './terminal.ts';

export const configFile = (options: ConfigOptions, env: NodeJS.ProcessEnv): string | null =>
  options.config ?? (env['SWELLSIGHT_CONFIG'] || null);

/** The settings for a command, including those of remote commands. Throws `config_invalid`. */
export const loadCommandSettings = async (options: ConfigOptions, terminal: Terminal): Promise<Settings> =>
  (await loadConfiguration(options, terminal)).settings;

/** As `loadCommandSettings`, with the sources of the settings. */
export async function loadConfiguration(
  options: ConfigOptions,
  { env, cwd }: Terminal,
): Promise<LocalConfiguration> {
  const { loadLocal } = await import('../config/load.ts');
  return loadLocal({ file: configFile(options, env), env, cwd });
}

/** `check-config`: prints one line for each fault and exits with 78, or prints a summary of the settings. */
export async function checkConfig(
  options: ConfigOptions & { json?: boolean },
  terminal: Terminal,
): Promise<number> {
  const { getConfigFaults, formatFault } = await import('../config/faults.ts');
  let configuration: LocalConfiguration;
  try {
    configuration = await loadConfiguration(options, terminal);
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
  const { listSources } = await import('../config/setting-sources.ts');
  const { settings } = configuration;
  const redacted = redactSettings(settings);
  const sources = listSources(configuration);
  const found = [...remoteWarnings(configuration), ...(await configWarnings(settings, terminal))];
  const warnings = [...found.map(({ warning }) => warning), ...(await geometryWarnings(settings))];
  const slots = await nextSlots(settings);
  const digest = computeConfigDigest(settings);
  const summary = { ok: true, digest, time_zone: systemTimeZone(), warnings, sources };
  if (options.json === true)
    terminal.out(toJson({ ...summary, next_slots: Object.fromEntries(slots), settings: redacted }));
  else {
    for (const warning of warnings) terminal.err(`warning: ${warning}`);
    for (const line of await summarize(redacted, summary.time_zone, slots)) terminal.out(line);
    terminal.out(formatSources(sources, configFile(options, terminal.env)));
  }
  return EXIT.ok;
}

/** One line for each source that sets keys. */
export const formatSources = (
  { file, environment, remote }: SettingSources,
  path: string | null,
): readonly string[] =>
  [
    [`from ${path ?? 'the file'}`, file] as const,
    ['from the environment', environment] as const,
    ['by remote command', remote] as const,
  ].flatMap(([source, keys]) => (keys.length === 0 ? [] : [`${source}: ${keys.join(', ')}`]));

interface Warning {
  readonly warning: string;
  readonly remedy: string;
}

/** Settings of remote commands that are not in force, or not confirmed yet. */
export function remoteWarnings({ files, overlayFault, refused }: LocalConfiguration): readonly Warning[] {
  const trial = files.readTrial();
  return [
    ...(overlayFault === null
      ? []
      : [
          {
            warning: `the settings of remote commands are not in force: ${overlayFault}`,
            remedy: 'the agent sets them aside at its next start; set them again by remote command',
          },
        ]),
    ...refused.map(({ id, reason }) => ({
      warning: `the remote settings of camera ${id} are not in force: ${reason}`,
      remedy: `run \`swellsight config drop cameras.${id}\`, or change the local configuration`,
    })),
    ...(trial === null
      ? []
      : [
          {
            warning: `a remote change is on trial, and not among these settings: ${trial.keys.join(', ')}`,
            remedy: 'confirm it with config.confirm, or wait until it is undone',
          },
        ]),
  ];
}

/** What is ignored or unsafe in the configuration, and what to do about it. It is no fault. */
export async function configWarnings(
  { cameras }: Pick<Settings, 'cameras'>,
  { env }: Pick<Terminal, 'env'>,
): Promise<readonly Warning[]> {
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

/** Geometry that cannot be used: its camera is observed without it. */
async function geometryWarnings({ cameras }: Pick<Settings, 'cameras'>): Promise<readonly string[]> {
  const { loadGeometry } = await import('../geometry/camera-geometry.ts');
  const warnings = cameras.map(async ({ id, geometry }) => {
    if (geometry === null) return [];
    return await loadGeometry(geometry).then(
      () => [],
      (thrown: unknown) => {
        const { message, context } = asAgentError(thrown);
        const path = typeof context['path'] === 'string' ? ` (${context['path']})` : '';
        return [`camera ${id}: the geometry is not used: ${message}${path}`];
      },
    );
  });
  return (await Promise.all(warnings)).flat();
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
