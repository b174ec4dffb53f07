import type { Settings } from '../config/schema.ts';
import { asAgentError } from '../base/errors.ts';
import { settingsFor, type ConfigOptions } from './settings.ts';
import { EXIT, jsonText, type Terminal } from './terminal.ts';

/** `check-config`: every fault on a line of its own, exit code 78; or what the agent would do. */
export async function checkConfig(
  options: ConfigOptions & { json?: boolean },
  terminal: Terminal,
): Promise<number> {
  const { getConfigFaults, formatFault } = await import('../config/faults.ts');
  let settings: Settings;
  try {
    settings = await settingsFor(options, terminal);
  } catch (thrown) {
    const error = asAgentError(thrown);
    if (error.code !== 'config_invalid') throw thrown;
    const faults = getConfigFaults(error);
    if (options.json === true) terminal.out(jsonText({ ok: false, faults }));
    else for (const fault of faults) terminal.err(formatFault(fault));
    return EXIT.config;
  }
  const { redactSettings, computeConfigDigest } = await import('../config/redact.ts');
  const digest = computeConfigDigest(settings);
  if (options.json === true) terminal.out(jsonText({ ok: true, digest, settings: redactSettings(settings) }));
  else for (const line of await summary(settings)) terminal.out(line);
  return EXIT.ok;
}

async function summary(settings: Settings): Promise<string[]> {
  const { createSchedule } = await import('../schedule/schedule.ts');
  const { systemClock, isoTime } = await import('../base/clock.ts');
  const { redactSettings } = await import('../config/redact.ts');
  const { mqtt, http, stateDir, site, device } = redactSettings(settings);
  const broker =
    mqtt.url.length > 0
      ? mqtt.url.join(', ')
      : `embedded, ${mqtt.embedded.host}:${String(mqtt.embedded.port)}`;
  const cameras = settings.cameras.map((camera) => {
    const { schedule, location } = camera;
    const made = createSchedule(
      { schedule, location, seedId: `${device}/${camera.id}` },
      { clock: systemClock },
    );
    const nextMs = made.nextRunAtMs();
    const next = nextMs === null ? 'no run in the next days' : `next ${isoTime(nextMs)}`;
    return `camera ${camera.id}: ${camera.kind}, ${made.description}, ${next}`;
  });
  return [
    'the configuration is good',
    `station ${site}/${device}, state in ${stateDir}`,
    `broker ${broker}`,
    `http ${http.host}:${String(http.port)}${http.token === null ? '' : ', with a token'}`,
    ...(cameras.length > 0 ? cameras : ['no camera']),
  ];
}
