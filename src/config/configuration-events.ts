import type { EventDraft } from '../contract/states.ts';
import type { SetAside } from './overlay-files.ts';
import type { UndoReason } from './trial.ts';

const UNDONE: Readonly<Record<UndoReason, string>> = {
  not_confirmed: 'it was not confirmed in time',
  broker_lost: 'the broker was out of reach with it',
  start_failed: 'the agent does not start with it',
  not_applied: 'it could not be applied',
  interrupted: 'the agent ended before it was confirmed',
};

export const undoneEvent = (trial: string, keys: readonly string[], reason: UndoReason): EventDraft => ({
  type: 'config_undone',
  severity: 'warning',
  code: `config_${reason}`,
  message: `A change of the configuration was undone: ${UNDONE[reason]}.`,
  context: { trial, reason, keys },
});

export const confirmedEvent = (trial: string, keys: readonly string[]): EventDraft => ({
  type: 'config_changed',
  severity: 'info',
  code: 'config_changed',
  message: 'The configuration was changed by remote command and confirmed.',
  context: { trial, keys },
});

export const overlayDroppedEvent = ({ file, reason }: SetAside): EventDraft => ({
  type: 'config_overlay_dropped',
  severity: 'error',
  code: 'config_overlay_dropped',
  message: 'What remote commands had set cannot be used; the local configuration alone is in force.',
  context: { file, reason },
});
