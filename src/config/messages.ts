import { isoTime } from '../base/clock.ts';
import type { AgentError } from '../base/errors.ts';
import type { ConfigChange, ConfigView } from '../contract/config.ts';
import type { EVENT_CODES } from '../contract/codes.ts';
import type { EventDraft } from '../contract/states.ts';
import type { Change } from './change.ts';
import { getConfigFaults } from './faults.ts';
import { listLocalMasks, type Overlay } from './overlay.ts';
import type { QuarantinedOverlay } from './overlay-files.ts';
import { LOCAL_CAMERA_KEYS, LOCAL_KEYS } from './patch.ts';
import { computeConfigDigest, redactOverlay, redactSettings } from './redact.ts';
import type { RefusedCamera } from './remote-cameras.ts';
import type { Settings } from './schema.ts';
import type { Trial, UndoReason } from './trial.ts';

/** Most keys in the context of an event. */
const MAX_KEYS = 50;

/** The result of `config.get`. */
export function configView(input: {
  readonly settings: Settings;
  readonly overlay: Overlay;
  readonly trial: Trial | null;
  readonly connected: boolean;
  /** The settings without the overlay. */
  readonly local: Settings;
}): ConfigView {
  const { settings, overlay, trial, connected, local } = input;
  return {
    settings: { ...redactSettings(settings) },
    overlay: redactOverlay(overlay),
    config_digest: computeConfigDigest(settings),
    trial: trial && {
      id: trial.id,
      changed: [...trial.keys],
      in_force: trial.isConfirmable(connected),
      confirm_by: isoTime(trial.confirmByMs),
      seconds_left: trial.secondsLeft(),
    },
    local_keys: [...LOCAL_KEYS, ...LOCAL_CAMERA_KEYS.map((key) => `cameras[].${key}`)],
    local_cameras: local.cameras.map(({ id }) => id),
    local_masks: Object.fromEntries(
      settings.cameras.map((camera) => [camera.id, [...listLocalMasks(camera, local.cameras)]]),
    ),
  };
}

/** The result of `config.set`. */
export function configChange(
  started: { readonly trial: Trial; readonly withinS: number } | null,
  change: Change,
  onConfirm: Change,
): ConfigChange {
  return {
    trial: started?.trial.id ?? null,
    changed: [...change.keys, ...onConfirm.keys],
    live: [...change.live],
    link: [...change.link],
    restart: [...change.restart],
    on_confirm: [...onConfirm.keys],
    confirm_by: started && isoTime(started.trial.confirmByMs),
    confirm_within_s: started && started.withinS,
    config_digest: computeConfigDigest(onConfirm.to),
  };
}

const UNDO_TEXTS: Readonly<Record<UndoReason, string>> = {
  not_confirmed: 'it was not confirmed in time',
  broker_lost: 'the broker was unreachable with it',
  start_failed: 'the agent does not start with it',
  not_applied: 'it could not be applied',
  withdrawn: 'somebody asked for it',
  interrupted: 'the agent stopped or restarted before it was confirmed',
};

/** `failure`: why the change could not be applied, or why the agent did not start with it. */
export const undoneEvent = (
  trial: string,
  keys: readonly string[],
  reason: UndoReason,
  failure: AgentError | null = null,
): EventDraft => ({
  type: 'config_undone',
  severity: 'warning',
  code: `config_${reason}` satisfies keyof typeof EVENT_CODES,
  message: `A change of the configuration was undone: ${UNDO_TEXTS[reason]}${failure ? `: ${failure.message}` : ''}.`,
  context: { trial, reason, keys, ...(failure && { failure: failure.code }) },
});

export const confirmedEvent = (trial: string, keys: readonly string[]): EventDraft => ({
  type: 'config_changed',
  severity: 'info',
  code: 'config_changed',
  message: 'The configuration was changed by remote command and confirmed.',
  context: { trial, keys },
});

/** After a change of the local files. */
export const reloadedEvent = ({ keys, restart }: Change): EventDraft => ({
  type: 'config_changed',
  severity: 'info',
  code: 'config_reloaded',
  message: 'The local configuration was read again and has changed.',
  context: { keys, restart },
});

/** `failure`: a fault of the local configuration, or why the agent does not start with it. */
export const refusedEvent = (failure: AgentError): EventDraft => ({
  type: 'config_refused',
  severity: 'error',
  code: 'config_refused',
  message: 'The changed local configuration cannot be used; the former one stays in force.',
  context: {
    failure: failure.code,
    keys: getConfigFaults(failure)
      .map(({ key }) => key)
      .slice(0, MAX_KEYS),
  },
});

export const droppedEvent = (keys: readonly string[]): EventDraft => ({
  type: 'config_changed',
  severity: 'info',
  code: 'config_dropped',
  message: 'Settings of remote commands were removed on the device.',
  context: { keys: keys.slice(0, MAX_KEYS) },
});

/** What of the saved overlay is not in force: all of it, because the file is unusable, or the settings of some cameras. */
export function overlayDroppedEvents(
  quarantined: QuarantinedOverlay | null,
  refused: readonly RefusedCamera[],
): readonly EventDraft[] {
  const all: EventDraft = {
    type: 'config_overlay_dropped',
    severity: 'error',
    code: 'config_overlay_dropped',
    message: 'The settings of remote commands cannot be used; only the local configuration is in force.',
    context: { ...quarantined },
  };
  const some: EventDraft = {
    type: 'config_overlay_dropped',
    severity: 'warning',
    code: 'config_overlay_dropped',
    message:
      'The local configuration does not allow the remote settings of some cameras; they are not in force.',
    context: { cameras: refused.map(({ id, reason }) => ({ id, reason })) },
  };
  return [...(quarantined ? [all] : []), ...(refused.length > 0 ? [some] : [])];
}
