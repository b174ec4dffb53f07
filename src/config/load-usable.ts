import { statSync } from 'node:fs';
import { resolve } from 'node:path';
import { AgentError } from '../base/errors.ts';
import { configInvalid } from './faults.ts';
import { loadLocal, refuseNewFaults, type LocalConfiguration, type LocalInput } from './load.ts';

/**
 * As `loadLocal`, while a configuration is in force. Throws `config_invalid` also for an unusable overlay, for faults of
 * files of keys that have none in `before`, for a file without settings when that of `before` had some, and for a pipe or device.
 */
export function loadUsable(input: LocalInput, before: LocalConfiguration): LocalConfiguration {
  if (input.file !== null && isPipe(resolve(input.cwd, input.file)))
    throw fileFault(input, 'a pipe or device', 'a file, which can be read again');
  const loaded = loadLocal(input);
  refuseNewFaults(loaded.fileFaults, before.fileFaults);
  // An editor may be writing the file: without its settings, the device would run with the defaults.
  if (hasFileKeys(before) && !hasFileKeys(loaded)) throw fileFault(input, 'no settings', 'some settings');
  if (loaded.overlayFault === null) return loaded;
  throw new AgentError('config_invalid', `the overlay cannot be used: ${loaded.overlayFault}`);
}

/** A pipe has another content than before, or none: the read would block the process until somebody writes. */
function isPipe(path: string): boolean {
  try {
    const stats = statSync(path);
    return !stats.isFile() && !stats.isDirectory();
  } catch {
    // `loadLocal` reports it.
    return false;
  }
}

const hasFileKeys = ({ local }: LocalConfiguration): boolean =>
  [...local.origins.values()].some((origin) => origin !== 'environment');

const fileFault = ({ file: origin }: LocalInput, given: string, wanted: string): AgentError =>
  configInvalid([{ key: '(file)', given, wanted, origin }]);
