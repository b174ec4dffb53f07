import { isoTime } from '../base/clock.ts';
import type { ConfigChange, ConfigView } from '../contract/config.ts';
import type { Change } from './change.ts';
import type { Overlay } from './overlay.ts';
import { LOCAL_CAMERA_KEYS, LOCAL_KEYS } from './patch.ts';
import { configDigest, redactedOverlay, redactedSettings } from './redact.ts';
import type { Settings } from './schema.ts';
import type { Trial } from './trial.ts';

/** What `config.get` answers. */
export function viewOf(input: {
  readonly settings: Settings;
  readonly overlay: Overlay;
  readonly trial: Trial | null;
  readonly connected: boolean;
}): ConfigView {
  const { settings, overlay, trial, connected } = input;
  return {
    settings: shownSettings(settings),
    overlay: redactedOverlay(overlay),
    config_digest: configDigest(settings),
    trial: trial && {
      id: trial.id,
      changed: [...trial.keys],
      in_force: trial.inForce(connected),
      confirm_by: isoTime(trial.confirmByMs),
      seconds_left: trial.secondsLeft(),
    },
    local_keys: [...LOCAL_KEYS, ...LOCAL_CAMERA_KEYS.map((key) => `cameras[].${key}`)],
  };
}

/** Arguments of a capture command may hold anything: only its program is shown. */
function shownSettings(settings: Settings): Record<string, unknown> {
  const shown = redactedSettings(settings);
  const cameras = shown.cameras.map((camera) => ({
    ...camera,
    command: camera.command?.slice(0, 1) ?? null,
  }));
  return { ...shown, cameras };
}

/** What `config.set` answers. */
export function answerOf(
  on: { trial: Trial; withinS: number } | null,
  change: Change,
  held: Change,
): ConfigChange {
  return {
    trial: on?.trial.id ?? null,
    changed: [...change.keys, ...held.keys],
    live: [...change.live],
    link: [...change.link],
    restart: [...change.restart],
    on_confirm: [...held.keys],
    confirm_by: on && isoTime(on.trial.confirmByMs),
    confirm_within_s: on && on.withinS,
    config_digest: configDigest(held.to),
  };
}
