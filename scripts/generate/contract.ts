import { Command, CommandReceipt, CommandResult } from '../../src/contract/command.ts';
import { Health } from '../../src/contract/health.ts';
import { Observation } from '../../src/contract/observation.ts';
import { CameraState, Event, Info, ModelState, Status } from '../../src/contract/states.ts';
import { Manifest } from '../../src/model/manifest.ts';

const SCHEMAS = {
  observation: Observation,
  health: Health,
  status: Status,
  info: Info,
  'camera-state': CameraState,
  'model-state': ModelState,
  event: Event,
  command: Command,
  'command-receipt': CommandReceipt,
  'command-result': CommandResult,
  manifest: Manifest,
};

/** JSON Schemas of everything on the wire, by path. */
export function contractFiles(): Record<string, string> {
  return Object.fromEntries(
    Object.entries(SCHEMAS).map(([name, schema]) => [
      `docs/generated/${name}.schema.json`,
      `${JSON.stringify({ $schema: 'https://json-schema.org/draft/2020-12/schema', ...schema }, null, 2)}\n`,
    ]),
  );
}
