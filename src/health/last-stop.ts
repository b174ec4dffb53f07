import { readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { schemaChecker } from '../base/schema-checker.ts';
import { StopFile, type LastStop } from '../contract/diagnostics.ts';
import type { KeyValue, RaiseEvent } from '../store/types.ts';

const FILE = 'last-stop.json';
const MAX_FILE_BYTES = 4096;
/** Key of the id of the last end that an event was raised for. */
const REPORTED_KEY = 'last_stop_reported';

/**
 * How the service ended the last time, as `systemd/record-stop` stored it in the state directory of the service. Raises
 * one event for an end that was no clean stop. Null without a valid file: another service manager, or the first start.
 */
export function reportLastStop(
  { dir }: { readonly dir: string },
  { memory, raise }: { readonly memory: KeyValue; readonly raise: RaiseEvent },
): LastStop | null {
  const file = readStopFile(join(dir, FILE));
  if (file === null) return null;
  const { id, at, service_result, exit_code, exit_status } = file;
  const isClean = service_result === 'success';
  if (!isClean && memory.get(REPORTED_KEY) !== id) {
    raise({
      type: 'service_stopped',
      severity: 'warning',
      code: service_result,
      message: `The service ended: ${service_result} (${exit_code} ${exit_status}).`,
      context: { at, service_result, exit_code, exit_status },
    });
    memory.set(REPORTED_KEY, id);
  }
  return { at, service_result, exit_code, exit_status };
}

function readStopFile(path: string): StopFile | null {
  const isStopFile = schemaChecker({ validateFormats: false }).compile<StopFile>(StopFile);
  try {
    if (statSync(path).size > MAX_FILE_BYTES) return null;
    const value: unknown = JSON.parse(readFileSync(path, 'utf8'));
    return isStopFile(value) ? value : null;
  } catch {
    return null;
  }
}
