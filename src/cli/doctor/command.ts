import { asAgentError } from '../../base/errors.ts';
import type { Settings } from '../../config/schema.ts';
import { configFile, configWarnings, formatSources, loadConfiguration, remoteWarnings } from '../config.ts';
import type { ConfigOptions } from '../options.ts';
import { bad, dim, good, line, warn, type Line } from '../line.ts';
import { EXIT, toJson, type Terminal } from '../terminal.ts';
import {
  errorFinding,
  failFinding,
  okFinding,
  warnFinding,
  type CheckName,
  type Finding,
} from '../../control/doctor/finding.ts';
import type { Check, DoctorContext } from './context.ts';

export interface DoctorOptions extends ConfigOptions {
  readonly json?: boolean;
}

const CHECK_COLUMNS = 18;

/** `doctor`: checks everything that the agent needs. Exits with 1 for a failed check, with 78 for invalid settings. */
export async function runDoctor(options: DoctorOptions, terminal: Terminal): Promise<number> {
  const findings: Finding[] = [];
  const isValid = await runAllChecks(options, terminal, (finding) => {
    findings.push(finding);
    if (options.json !== true) terminal.out(formatFinding(finding));
  });
  const hasFailed = findings.some(({ state }) => state === 'fail');
  const code = !isValid ? EXIT.config : hasFailed ? EXIT.failed : EXIT.ok;
  if (options.json === true) terminal.out(toJson({ ok: code === EXIT.ok, checks: findings }));
  return code;
}

/** Runs all checks in order, or only the one of the configuration when that is invalid: then resolves with false. */
export async function runAllChecks(
  options: ConfigOptions,
  terminal: Terminal,
  addFinding: (finding: Finding) => void,
): Promise<boolean> {
  const settings = await readSettings(options, terminal, addFinding);
  if (settings !== null) await runChecks({ settings, terminal }, addFinding);
  return settings !== null;
}

async function readSettings(
  options: ConfigOptions,
  terminal: Terminal,
  addFinding: (finding: Finding) => void,
): Promise<Settings | null> {
  try {
    const configuration = await loadConfiguration(options, terminal);
    const { listSources } = await import('../../config/setting-sources.ts');
    const { settings } = configuration;
    const file = configFile(options, terminal.env);
    const sources = formatSources(listSources(configuration), file);
    addFinding(okFinding('configuration', file === null ? 'valid, without a file' : `${file} is valid`));
    for (const source of sources) addFinding(okFinding('configuration', source));
    for (const { warning, remedy } of [
      ...remoteWarnings(configuration),
      ...(await configWarnings(settings, terminal)),
    ])
      addFinding(warnFinding('configuration', warning, remedy));
    return settings;
  } catch (thrown) {
    const { getConfigFaults, formatFault } = await import('../../config/faults.ts');
    const error = asAgentError(thrown);
    const faults = getConfigFaults(error);
    if (faults.length === 0) throw thrown;
    for (const fault of faults) addFinding(failFinding('configuration', formatFault(fault), error.hint));
    return null;
  }
}

async function runChecks(context: DoctorContext, addFinding: (finding: Finding) => void): Promise<void> {
  const device = { settings: context.settings, signal: context.terminal.signal };
  const machine = await import('../../control/doctor/machine.ts');
  const board = await import('../../control/doctor/board.ts');
  const { checkGpu } = await import('../../control/doctor/gpu.ts');
  const { checkTimeZone } = await import('./time-zone.ts');
  const { checkModel } = await import('./model.ts');
  const { checkCameras } = await import('./cameras.ts');
  const { checkHttp } = await import('./network.ts');
  const { checkBroker } = await import('./broker.ts');
  const checks: readonly [name: CheckName, check: Check][] = [
    ['node', machine.checkNode],
    ['hardware', () => machine.checkHardware(device)],
    ['gpu', () => checkGpu()],
    ['memory', () => board.checkMemory(device)],
    ['power supply', () => board.checkPower(device)],
    ['disk', () => machine.checkDisk(device)],
    ['state', () => board.checkStorage(device)],
    ['journal', () => board.checkJournal(device)],
    ['clock', machine.checkClock],
    ['hardware clock', () => board.checkRealTimeClock(device)],
    ['time zone', () => checkTimeZone(device)],
    ['ffmpeg', () => machine.checkFfmpeg(device)],
    ['http', checkHttp],
    ['broker', checkBroker],
    ['model', checkModel],
    ['camera', checkCameras],
  ];
  for (const [name, check] of checks) {
    try {
      for await (const finding of check(context)) addFinding(finding);
    } catch (thrown) {
      context.terminal.signal.throwIfAborted();
      addFinding(errorFinding(name, thrown));
    }
  }
}

function formatFinding({ check, state, detail, mend }: Finding): Line {
  const word = { ok: good('ok  '), warn: warn('warn'), fail: bad('FAIL') }[state];
  const remedy = mend === null ? '' : dim(` -> ${mend}`);
  return line`${word}  ${check.padEnd(CHECK_COLUMNS)} ${detail}${remedy}`;
}
