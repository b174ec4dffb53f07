import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { isoTime, systemClock } from '../../base/clock.ts';
import { asAgentError } from '../../base/errors.ts';
import { systemTimeZone } from '../../base/time-zone.ts';
import { formatFault, getConfigFaults } from '../../config/faults.ts';
import { loadLocal, type LocalConfiguration } from '../../config/load.ts';
import { computeConfigDigest, redactOverlay } from '../../config/redact.ts';
import { shownSettings } from '../../control/diagnostics.ts';
import type { AgentOptions } from '../agent/client.ts';
import { createLocalClient } from '../agent/local-client.ts';
import { configFile, configWarnings } from '../config.ts';
import { runAllChecks } from '../doctor/command.ts';
import type { Finding } from '../../control/doctor/finding.ts';
import { readAgentVersion } from '../installation.ts';
import type { ConfigOptions } from '../options.ts';
import { EXIT, printJson, type Terminal } from '../terminal.ts';
import { agentParts, stateParts } from './agent-parts.ts';
import { DiagnosticsArchive } from './archive.ts';
import { createRunTool } from './program-output.ts';
import { createArchiveRedactor } from './redactor.ts';
import { systemParts } from './system-parts.ts';

export interface DiagnosticsOptions extends ConfigOptions, AgentOptions {
  readonly out?: string;
}

/** The checks open each camera and try each execution provider. */
const CHECKS_TIMEOUT_MS = 240_000;

/**
 * `diagnostics`: writes one archive without secrets for a report of a fault. Also works without a running agent, without
 * systemd and with an invalid configuration: the manifest names each part that is missing, with the reason.
 */
export async function writeDiagnostics(options: DiagnosticsOptions, terminal: Terminal): Promise<number> {
  const nowMs = systemClock.nowMs();
  const local = readLocal(options, terminal);
  const settings = local.configuration?.settings ?? null;
  const archive = new DiagnosticsArchive(createArchiveRedactor({ options, settings, terminal }));
  const client = createLocalClient(options, settings, terminal);
  const run = createRunTool(terminal.signal);
  const parts = [
    { file: 'configuration.json', read: () => describeConfiguration(local, options, terminal) },
    ...agentParts(client, run),
    ...stateParts(settings, terminal),
    ...systemParts(settings, run),
  ];
  for (const part of parts) await archive.add(part, terminal.signal);
  if (!terminal.hasBars) terminal.err('running the checks of `swellsight doctor`, for up to four minutes');
  await addChecks(archive, options, terminal);

  const name = `swellsight-diagnostics-${isoTime(nowMs).replace(/[:.]/g, '-')}.tar.gz`;
  const path = options.out === undefined ? join(tmpdir(), name) : resolve(terminal.cwd, options.out);
  const manifest = archive.manifest(isoTime(nowMs), readAgentVersion());
  const sizeBytes = archive.write(path, manifest);
  if (options.json === true) return printJson(terminal, { path, size_bytes: sizeBytes, manifest });
  for (const { file, reason } of manifest.missing) terminal.err(`without ${file}: ${reason}`);
  terminal.out(`${path}, ${String(Math.ceil(sizeBytes / 1024))} kB, ${String(manifest.parts.length)} parts`);
  return EXIT.ok;
}

/** The configuration, or why there is none. */
interface Local {
  readonly configuration: LocalConfiguration | null;
  readonly faults: readonly string[];
}

function readLocal(options: DiagnosticsOptions, { env, cwd }: Terminal): Local {
  try {
    return { configuration: loadLocal({ file: configFile(options, env), env, cwd }), faults: [] };
  } catch (thrown) {
    const error = asAgentError(thrown);
    const faults = getConfigFaults(error);
    return { configuration: null, faults: faults.length > 0 ? faults.map(formatFault) : [error.message] };
  }
}

async function describeConfiguration(
  { configuration, faults }: Local,
  options: DiagnosticsOptions,
  terminal: Terminal,
): Promise<unknown> {
  const { env } = terminal;
  return {
    file: configFile(options, env),
    variables: Object.keys(env).filter((name) => name.startsWith('SWELLSIGHT_')),
    time_zone: systemTimeZone(),
    faults,
    warnings: (await configWarnings(configuration?.settings ?? { cameras: [] }, terminal)).map(
      ({ warning }) => warning,
    ),
    ...(configuration === null
      ? { settings: null }
      : {
          overlay: redactOverlay(configuration.saved.overlay),
          overlay_fault: configuration.overlayFault,
          digest: computeConfigDigest(configuration.settings),
          settings: shownSettings(configuration.settings),
        }),
  };
}

/** Adds the findings of `doctor`, also when it takes too long. */
async function addChecks(
  archive: DiagnosticsArchive,
  options: DiagnosticsOptions,
  terminal: Terminal,
): Promise<void> {
  const checks: Finding[] = [];
  const signal = AbortSignal.any([terminal.signal, AbortSignal.timeout(CHECKS_TIMEOUT_MS)]);
  let stopped: string | null = null;
  try {
    await runAllChecks(options, { ...terminal, signal }, (finding) => checks.push(finding));
  } catch (thrown) {
    terminal.signal.throwIfAborted();
    const last = checks.at(-1)?.check ?? 'none';
    stopped = signal.aborted
      ? `the checks take too long; the last one that ended is: ${last}`
      : asAgentError(thrown).message;
  }
  await archive.add({ file: 'doctor.json', read: () => ({ stopped, checks }) }, terminal.signal);
}
