import { ERROR_CODES, type ErrorCode } from '../../base/errors.ts';
import { ALREADY_INSTALLED, SUPERSEDED, type DeviceProgress } from '../../fleet/device-progress.ts';
import { describeAction, type RolloutAction } from '../../fleet/rollout-file.ts';
import { formatBar } from '../format.ts';
import { toJsonLine } from '../terminal.ts';

const MAX_RESULT_CHARS = 100;

/** What each phase of an install means; the phases of models and of the agent that differ have different names. */
const INSTALL_SENTENCES: Readonly<Record<string, string>> = {
  requested: 'The device has stored the request.',
  downloading: 'The device downloads the archive.',
  verifying: 'The device checks signatures and content.',
  testing: 'The device runs the model on its golden images.',
  shadow: 'The new model sees live frames beside the active one.',
  probation:
    'The new model is active on probation: by default for 60 minutes and 20 observations (model.probation).',
  waiting: 'The device waits for its window of updates.',
  installing: 'The updater of the device installs the version.',
  trial: 'The new version runs on trial: by default for 2 minutes and 3 observations (update.probation).',
};

/** Why a device waits. */
const WAITING_SENTENCES: Readonly<Record<string, string>> = {
  offline: 'The device is offline.',
  halted: 'The rollout has halted.',
  paused: 'The rollout is paused.',
  window: 'The window of the device is closed.',
};

/** Why a device has rejected the command for a time. */
const DEFERRED_SENTENCES: Readonly<Record<string, string>> = {
  busy: 'The device is busy; the command is sent again.',
  stopping: 'The device stops; the command is sent again.',
  clock_unsynced: 'The clock of the device is not set yet; the command is sent again.',
  expired: 'By the clock of the device the window has ended; the command is sent again.',
};

/** Reasons and codes that come from the command line itself or from the receipt of a command. */
const REMEDIES: Readonly<Record<string, string>> = {
  [SUPERSEDED]: 'find out who installed the other version; run the same command again to install this one',
  command_timeout: 'check that the device is online and works; run the same command again to continue',
  unknown_command: 'update the agent of this device',
  command_interrupted: 'run the same command again with --retry-failed',
  expired: 'run the same command again with --retry-failed',
  config_invalid: 'correct the patch; the message names the keys',
  config_trial_unknown:
    'nothing to keep: the change was undone, or kept already; see `fleet command config.get`',
  bad_args: 'correct the arguments, or update the agent of this device',
  model_refused_before: 'find the cause; then run the same command again with --retry-failed --clear-failed',
  model_digest_mismatch: 'compare --digest with that of `swellsight repo verify DIR --json`',
};

/** A phase in words: an install is committed, a command is done. */
export function phaseName(action: RolloutAction, { phase }: DeviceProgress): string {
  if (action.kind !== 'command') return phase;
  return phase === 'installing' ? 'running' : phase === 'committed' ? 'done' : phase;
}

export function sentenceOf(action: RolloutAction, { phase, detail, message }: DeviceProgress): string {
  switch (phase) {
    case 'waiting':
      return WAITING_SENTENCES[detail ?? ''] ?? 'The device waits for its stage.';
    case 'sent':
      return DEFERRED_SENTENCES[detail ?? ''] ?? 'The command was sent.';
    case 'failed':
      return detail === SUPERSEDED
        ? 'Another version became active after the install.'
        : message === null
          ? 'The device refused or did not answer.'
          : message.replace(/\s*\n\s*/g, ' ').replace(/\.?$/, '.');
    case 'installing':
    case 'probation':
      if (detail === 'restarting') return 'The device restarts.';
      return INSTALL_SENTENCES[detail ?? ''] ?? 'The device has accepted the command.';
    case 'committed':
      if (action.kind === 'command') return 'The command has succeeded.';
      return detail === ALREADY_INSTALLED
        ? 'The device had this version already.'
        : 'The version is installed and has passed its trial.';
  }
}

/** What an operator can do about a failure; null for other phases. */
export function remedyOf({ phase, detail }: DeviceProgress): string | null {
  if (phase !== 'failed' || detail === null) return null;
  if (Object.hasOwn(REMEDIES, detail)) return REMEDIES[detail] ?? null;
  return Object.hasOwn(ERROR_CODES, detail)
    ? ERROR_CODES[detail as ErrorCode].hint
    : 'see docs/errors.md and the log of the device';
}

/** One line for a change: time, device, phase, code of a failure, sentence, remedy. */
export function progressLine(
  action: RolloutAction,
  device: string,
  progress: DeviceProgress,
  nowMs: number,
): string {
  const time = new Date(nowMs).toLocaleTimeString('sv-SE');
  const code = progress.phase === 'failed' && progress.detail !== null ? `${progress.detail}: ` : '';
  const remedy = remedyOf(progress);
  const text = `${code}${sentenceOf(action, progress)}${remedy === null ? '' : ` Remedy: ${remedy}.`}`;
  return `${time}  ${device}  ${phaseName(action, progress)}  ${text}`;
}

/** The same as one line of JSON. */
export function progressJson(
  action: RolloutAction,
  device: string,
  progress: DeviceProgress,
  nowMs: number,
): string {
  const { detail, percent, result } = progress;
  return toJsonLine({
    device,
    phase: phaseName(action, progress),
    detail,
    percent,
    at: new Date(nowMs).toISOString(),
    sentence: sentenceOf(action, progress),
    remedy: remedyOf(progress),
    ...(result === undefined ? {} : { result }),
  });
}

/** Cells of a table: device, phase, detail, bar or result. */
export function progressCells(action: RolloutAction, device: string, progress: DeviceProgress): string[] {
  const { phase, detail, percent, result } = progress;
  const text = result === undefined ? '' : JSON.stringify(result);
  return [
    device,
    phaseName(action, progress),
    detail === null || detail === phase ? '' : detail,
    percent === null ? text.slice(0, MAX_RESULT_CHARS) : `[${formatBar(percent)}]`,
  ];
}

/** What an operator does after failures. */
export function failureNote(isHalted: boolean, hasPlan: boolean): string {
  const start = isHalted ? 'too many devices failed (--halt-on), so no further one starts: ' : '';
  return `${start}when the cause is gone, run the same command again${hasPlan ? ' with --retry-failed' : ''}`;
}

export interface RolloutSummary {
  readonly committed: number;
  readonly failed: number;
  readonly underWay: number;
  readonly waiting: number;
  readonly isHalted: boolean;
  readonly stage: { readonly number: number; readonly count: number };
}

export function countProgress(
  devices: Iterable<DeviceProgress>,
): Pick<RolloutSummary, 'committed' | 'failed' | 'underWay' | 'waiting'> {
  const counts = { committed: 0, failed: 0, underWay: 0, waiting: 0 };
  for (const { phase } of devices) {
    if (phase === 'committed' || phase === 'failed' || phase === 'waiting') counts[phase] += 1;
    else counts.underWay += 1;
  }
  return counts;
}

export function summaryJson(id: string, action: RolloutAction, summary: RolloutSummary): string {
  const { committed, failed, underWay, waiting, isHalted, stage } = summary;
  const subject =
    action.kind === 'command'
      ? { command: action.command, done: committed }
      : { name: action.kind === 'agent' ? 'agent' : action.name, version: action.version, committed };
  return toJsonLine({
    summary: {
      rollout: id,
      ...subject,
      failed,
      under_way: underWay,
      waiting,
      halted: isHalted,
      stage: stage.number,
      stages: stage.count,
    },
  });
}

/** `2 committed, 0 failed, 0 installing, 1 waiting`. */
export function summaryText(
  action: RolloutAction,
  summary: Omit<RolloutSummary, 'stage' | 'isHalted'>,
): string {
  const { committed, failed, underWay, waiting } = summary;
  const [ended, running] = action.kind === 'command' ? ['done', 'running'] : ['committed', 'installing'];
  return `${String(committed)} ${ended}, ${String(failed)} failed, ${String(underWay)} ${running}, ${String(waiting)} waiting`;
}

/** `gauge 2.0.0  [###-------]  3 of 10 committed, 0 failed`. */
export function headLine(
  action: RolloutAction,
  { committed, failed, underWay, waiting }: RolloutSummary,
): string {
  const total = committed + failed + underWay + waiting;
  const ended = action.kind === 'command' ? 'done' : 'committed';
  const share = total === 0 ? 0 : (100 * (committed + failed)) / total;
  return `${describeAction(action)}  [${formatBar(share)}]  ${String(committed)} of ${String(total)} ${ended}, ${String(failed)} failed`;
}
