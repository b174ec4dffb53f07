import { readFileSync } from 'node:fs';
import { Devices } from '../../fleet/devices.ts';
import { AgentError } from '../../base/errors.ts';
import type { OperatorOptions } from '../../mqtt/operator-client.ts';
import type { Terminal } from '../terminal.ts';

/** Options of every command that speaks to a fleet. */
export interface FleetOptions {
  readonly broker: string;
  readonly base: string;
  readonly to: string;
  readonly username?: string;
  readonly passwordFile?: string;
  readonly ca?: string;
  readonly json?: boolean;
}

/** Throws `usage` for a file that cannot be read. */
export function operatorOptions(options: FleetOptions, { env }: Terminal): OperatorOptions {
  const password = env['SWELLSIGHT_BROKER_PASSWORD'];
  return {
    url: options.broker,
    username: options.username ?? null,
    password:
      options.passwordFile === undefined ? (password ?? null) : read('password', options.passwordFile).trim(),
    ca: options.ca === undefined ? null : read('CA', options.ca),
  };
}

export const devicesOf = ({ base, to }: FleetOptions): Devices => new Devices(base, to);

function read(what: string, file: string): string {
  try {
    return readFileSync(file, 'utf8');
  } catch (error) {
    throw new AgentError('usage', `the ${what} file ${file} cannot be read`, { cause: error });
  }
}

/** Resolves after this long, or at once when the signal fires. */
export function pause(ms: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    if (signal.aborted) {
      resolve();
      return;
    }
    const end = (): void => {
      clearTimeout(timer);
      signal.removeEventListener('abort', end);
      resolve();
    };
    const timer = setTimeout(end, ms);
    signal.addEventListener('abort', end, { once: true });
  });
}
