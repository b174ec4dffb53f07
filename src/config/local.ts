import { resolve } from 'node:path';
import { asAgentError } from '../base/errors.ts';
import { faultsOf, type ConfigFault } from './faults.ts';
import { readSettingsFile } from './file.ts';
import { loadSettings, type SettingsInput } from './load.ts';
import { OverlayFiles, type SavedOverlay } from './overlay-files.ts';
import type { Overlay } from './overlay.ts';
import type { Settings } from './schema.ts';

/** What the device itself says: file and environment, read once, and the overlay that its state folder holds. */
export interface LocalConfiguration {
  readonly settings: Settings;
  readonly files: OverlayFiles;
  readonly saved: SavedOverlay;
  /** Why the overlay of the state folder is not used; null when it is. */
  readonly broken: string | null;
  /** The settings with another overlay over the same file and environment. Throws `config_invalid`. */
  readonly withOverlay: (overlay: Overlay) => Settings;
}

/**
 * Reads everything. Writes nothing. Throws `config_invalid` for faults of file and environment; an overlay that does not
 * fit never keeps the agent from starting.
 */
export function readLocal(input: Omit<SettingsInput, 'overlay' | 'document'>): LocalConfiguration {
  // What is wrong with the file is told by the load below.
  const untold: ConfigFault[] = [];
  const document = input.file === null ? undefined : readSettingsFile(resolve(input.cwd, input.file), untold);
  const once: SettingsInput = document === undefined || untold.length > 0 ? input : { ...input, document };
  const local = loadSettings(once);
  const files = new OverlayFiles({ stateDir: local.stateDir });
  const withOverlay = (overlay: Overlay): Settings =>
    Object.keys(overlay).length === 0 ? local : loadSettings({ ...once, overlay });
  try {
    const saved = files.read();
    return { settings: withOverlay(saved.overlay), files, saved, broken: null, withOverlay };
  } catch (thrown) {
    const error = asAgentError(thrown);
    const keys = faultsOf(error).map(({ key }) => key);
    const broken = keys.length > 0 ? `it does not fit: ${keys.slice(0, 10).join(', ')}` : error.message;
    return { settings: local, files, saved: { overlay: {}, trial: null }, broken, withOverlay };
  }
}
