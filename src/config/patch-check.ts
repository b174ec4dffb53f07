import { AgentError, asAgentError } from '../base/errors.ts';
import { faultsOf, type ConfigFault } from './faults.ts';
import type { Layer } from './layers.ts';
import { isObject, type Overlay } from './overlay.ts';
import { judgePatch, MAX_OVERLAY_BYTES, PATCH } from './patch.ts';
import type { Settings } from './schema.ts';

const MAX_FAULTS = 20;
const MAX_LINE = 300;
const DEEPEST = 12;

/** The patch, if it may be laid over the overlay. Throws `config_locked` or `config_invalid`. */
export function checkPatch(patch: unknown, known: ReadonlySet<string>): Layer {
  if (isDeep(patch)) throw refused([{ key: '(all)', given: '', wanted: 'less nesting', origin: PATCH }]);
  const { faults, locked } = judgePatch(patch, known);
  if (locked.length > 0) {
    const keys = locked.slice(0, MAX_FAULTS).join(', ').slice(0, MAX_LINE);
    throw new AgentError('config_locked', `only the device itself may set ${keys}`);
  }
  if (faults.length > 0 || !isObject(patch)) throw refused(faults);
  return patch;
}

/** The settings with the overlay. Throws `config_invalid`, also for an overlay that has become too large. */
export function settingsWith(overlay: Overlay, withOverlay: (overlay: Overlay) => Settings): Settings {
  let settings: Settings;
  try {
    settings = withOverlay(overlay);
  } catch (thrown) {
    const faults = faultsOf(asAgentError(thrown));
    throw faults.length > 0 ? refused(faults) : thrown;
  }
  const sizeBytes = Buffer.byteLength(JSON.stringify(overlay));
  if (sizeBytes <= MAX_OVERLAY_BYTES) return settings;
  const wanted = `at most ${String(MAX_OVERLAY_BYTES)} bytes of settings set by remote command`;
  throw refused([{ key: '(all)', given: '', wanted, origin: PATCH }]);
}

/** Whether it is nested deeper than any setting is: what walks through it by recursion would not come back. */
function isDeep(patch: unknown): boolean {
  let level: unknown[] = [patch];
  for (let depth = 0; level.length > 0; depth += 1) {
    if (depth > DEEPEST) return true;
    level = level.flatMap((value) =>
      typeof value === 'object' && value !== null ? (Object.values(value) as unknown[]) : [],
    );
  }
  return false;
}

/** Without what was given: its sender knows it, and nobody else has to. */
function refused(faults: readonly ConfigFault[]): AgentError {
  const told = faults.slice(0, MAX_FAULTS).map(({ key, given, wanted }) => {
    const why = given === 'an unknown key' ? `${given}, ${wanted}` : `wanted ${wanted}`;
    return `${key.slice(0, 100)}: ${why}`.slice(0, MAX_LINE);
  });
  const more = faults.length - told.length;
  const count = faults.length === 1 ? '1 fault' : `${String(faults.length)} faults`;
  const lines = [...told, ...(more > 0 ? [`and ${String(more)} more`] : [])];
  return new AgentError('config_invalid', `the change has ${count}\n${lines.join('\n')}`);
}
