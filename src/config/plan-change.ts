import { isDeepStrictEqual } from 'node:util';
import { compareSettings, type Change } from './change.ts';
import type { Layer } from './layers.ts';
import type { LocalConfiguration } from './load.ts';
import type { Overlay } from './overlay.ts';
import { checkPatch, dropRedacted, loadWithOverlay, patchOverlay } from './patch.ts';
import { checkPlannedWork } from './planned-work.ts';
import { redactSettings } from './redact.ts';
import type { Settings } from './schema.ts';
import { listGivenSecrets } from './secret-keys.ts';

/** What a patch changes. */
export interface PlannedChange {
  /** The overlay to store on confirmation. */
  readonly overlay: Overlay;
  /** The part on trial. */
  readonly change: Change;
  /** The part that takes effect on confirmation. */
  readonly onConfirm: Change;
  /** True if neither the settings nor the overlay change. */
  readonly isEmpty: boolean;
}

/**
 * Applies a patch to the saved overlay. `present`: the settings in force. `frameMs`: measured median time of one frame, ms;
 * null before the first one. Throws `config_locked` for keys that cannot be set remotely, `config_invalid` with all other faults.
 */
export function planChange(
  patch: unknown,
  present: Settings,
  local: LocalConfiguration,
  frameMs: number | null,
): PlannedChange {
  const { saved } = local;
  const { given, overlay, settings } = applyPatch(patch, present, saved.overlay, local);
  checkPlannedWork(present, settings, frameMs);
  // Limits of the store are not part of the trial: the records that they delete cannot be restored.
  const onTrial: Settings = Object.freeze({ ...settings, store: present.store });
  // A given secret counts as changed. Otherwise the answer would tell whether a guess of it is right.
  const change = compareSettings(present, onTrial, listGivenSecrets(given));
  const onConfirm = compareSettings(onTrial, settings);
  // A value that equals the local one changes no setting now, but would override a later change of the local file.
  const isSameOverlay = isDeepStrictEqual(overlay, saved.overlay);
  return {
    overlay,
    change,
    onConfirm,
    isEmpty: isSameOverlay && change.keys.length + onConfirm.keys.length === 0,
  };
}

/**
 * The settings and the overlay that a patch gives; `given` is the patch without what was not shown to its sender. Throws as
 * `planChange`.
 */
export function applyPatch(
  patch: unknown,
  present: Settings,
  before: Overlay,
  { loadWith }: Pick<LocalConfiguration, 'loadWith'>,
): { readonly given: Layer; readonly overlay: Overlay; readonly settings: Settings } {
  const cameraIds = new Set(present.cameras.map(({ id }) => id));
  const given = dropRedacted(checkPatch(patch, cameraIds), { ...redactSettings(present) });
  const overlay = patchOverlay(before, given);
  return { given, overlay, settings: loadWithOverlay(overlay, loadWith) };
}
