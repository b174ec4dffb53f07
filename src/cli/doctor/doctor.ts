import type { Settings } from '../../config/schema.ts';
import { asAgentError } from '../../base/errors.ts';
import { failed, type Check, type DoctorContext, type Finding } from './types.ts';
import { settingsFor, type ConfigOptions } from '../settings.ts';
import { EXIT, jsonText, paint, type Terminal } from '../terminal.ts';

export interface DoctorOptions extends ConfigOptions {
  readonly json?: boolean;
}

const WIDTH = 18;

/** `doctor`: one line for everything that the agent needs, with the mend. 1 when something fails, 78 for the settings. */
export async function doctor(options: DoctorOptions, terminal: Terminal): Promise<number> {
  const findings: Finding[] = [];
  const tell = (finding: Finding): void => {
    findings.push(finding);
    if (options.json !== true) terminal.out(findingLine(finding, terminal));
  };
  const settings = await readSettings(options, terminal, tell);
  let code: number = EXIT.config;
  if (settings !== null) {
    await examine({ settings, signal: terminal.signal, terminal }, tell);
    code = findings.some(({ state }) => state === 'fail') ? EXIT.failed : EXIT.ok;
  }
  if (options.json === true) terminal.out(jsonText({ ok: code === EXIT.ok, checks: findings }));
  return code;
}

async function readSettings(
  options: DoctorOptions,
  terminal: Terminal,
  tell: (finding: Finding) => void,
): Promise<Settings | null> {
  try {
    const settings = await settingsFor(options, terminal);
    const source = options.config ?? terminal.env['SWELLSIGHT_CONFIG'];
    const detail = source ? `${source} is good` : 'no file: defaults and environment';
    tell({ check: 'configuration', state: 'ok', detail, mend: null });
    return settings;
  } catch (thrown) {
    const { getConfigFaults, formatFault } = await import('../../config/faults.ts');
    const error = asAgentError(thrown);
    const faults = getConfigFaults(error);
    if (faults.length === 0) throw thrown;
    for (const fault of faults)
      tell({ check: 'configuration', state: 'fail', detail: formatFault(fault), mend: error.hint });
    return null;
  }
}

async function examine(context: DoctorContext, tell: (finding: Finding) => void): Promise<void> {
  const machine = await import('./machine.ts');
  const { checkModel } = await import('./model.ts');
  const { checkCameras } = await import('./cameras.ts');
  const { checkBroker } = await import('./broker.ts');
  const checks: readonly [name: string, check: Check][] = [
    ['node', machine.checkNode],
    ['hardware', machine.checkHardware],
    ['disk', machine.checkDisk],
    ['clock', machine.checkClock],
    ['ffmpeg', machine.checkFfmpeg],
    ['http', machine.checkHttp],
    ['broker', checkBroker],
    ['model', checkModel],
    ['camera', checkCameras],
  ];
  for (const [name, check] of checks) {
    try {
      for await (const finding of check(context)) tell(finding);
    } catch (thrown) {
      context.signal.throwIfAborted();
      tell(failed(name, thrown));
    }
  }
}

function findingLine({ check, state, detail, mend }: Finding, terminal: Terminal): string {
  const colours = paint(terminal.colour.out);
  const word = { ok: colours.good('ok  '), warn: colours.warn('warn'), fail: colours.bad('FAIL') }[state];
  return `${word}  ${check.padEnd(WIDTH)} ${detail}${mend === null ? '' : colours.dim(` -> ${mend}`)}`;
}
