import { systemClock } from '../../base/clock.ts';
import { AgentError } from '../../base/errors.ts';
import { NotPem, readCertificateFile } from '../../base/pem.ts';
import type { OperatorOptions } from '../../mqtt/operator-client.ts';
import { readOptionFile } from '../options.ts';
import type { Terminal } from '../terminal.ts';

/** Options of every fleet command. */
export interface FleetOptions {
  readonly broker: string;
  readonly base: string;
  readonly to: string;
  readonly username?: string;
  readonly passwordFile?: string;
  readonly ca?: string;
  readonly json?: boolean;
}

/** Printed when messages of devices were left out. */
export const TOO_MANY_DEVICES =
  'too many devices, or names that are too long: others are left out; narrow --to';

/** Options of the broker connection. Throws `usage` for an unusable file. */
export function operatorOptions(options: FleetOptions, { env }: Terminal): OperatorOptions {
  const password = env['SWELLSIGHT_BROKER_PASSWORD'];
  return {
    url: options.broker,
    username: options.username ?? null,
    password:
      options.passwordFile === undefined
        ? (password ?? null)
        : readOptionFile('password', options.passwordFile).trim(),
    ca: options.ca === undefined ? null : readCaFile(options.ca),
  };
}

function readCaFile(path: string): string {
  try {
    return readCertificateFile(path).map(String).join('');
  } catch (thrown) {
    if (!(thrown instanceof NotPem)) throw thrown;
    throw new AgentError('usage', `--ca ${path}: wanted ${thrown.message}`, { cause: thrown });
  }
}

/** Resolves after `ms`, or as soon as the signal fires. */
export const pause = (ms: number, signal: AbortSignal): Promise<void> =>
  systemClock.sleep(ms, signal).catch(() => undefined);
