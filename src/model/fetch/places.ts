import { join } from 'node:path';
import { AgentError } from '../../base/errors.ts';

const ID = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/;

/** Where an install keeps what; all below the folder of the models. */
export function placesOf(
  dir: string,
  updateId: string,
): {
  readonly parts: string;
  readonly staging: string;
  readonly bundles: string;
  readonly trust: string;
} {
  if (!ID.test(updateId)) throw new AgentError('internal', 'the id of an install is no UUID');
  return {
    parts: join(dir, 'parts'),
    staging: join(dir, 'staging', updateId),
    bundles: join(dir, 'bundles'),
    trust: join(dir, 'trust'),
  };
}
