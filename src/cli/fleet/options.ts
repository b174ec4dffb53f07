import { systemClock } from '../../base/clock.ts';
import { AgentError } from '../../base/errors.ts';
import { topicBase } from '../../config/formats.ts';
import type { ConfigFault } from '../../config/faults.ts';
import { readSettingsFile } from '../../config/sources.ts';
import {
  isNamedSelection,
  parseFleetGroups,
  selectDevices,
  type DeviceFilter,
  type FleetGroups,
} from '../../fleet/selection.ts';
import { NotPem, readCertificateFile } from '../../base/pem.ts';
import type { OperatorOptions } from '../../mqtt/operator-client.ts';
import { readOptionFile } from '../options.ts';
import type { Terminal } from '../terminal.ts';

/** Options of every fleet command that connects to the broker. */
export interface BrokerOptions {
  readonly broker: string;
  readonly base: string;
  readonly username?: string;
  readonly passwordFile?: string;
  readonly ca?: string;
  readonly json?: boolean;
}

/** Options of every fleet command that selects devices. */
export interface FleetOptions extends BrokerOptions {
  /** Default: all devices. */
  readonly to?: readonly string[];
  readonly except?: readonly string[];
  /** The file of groups and tags. */
  readonly fleet: string;
}

/** Printed when messages of devices were left out. */
export const TOO_MANY_DEVICES =
  'too many devices, or names that are too long: others are left out; narrow --to';

/** Options of the broker connection. Throws `usage` for an unusable file or base. */
export function operatorOptions(options: BrokerOptions, { env }: Terminal): OperatorOptions {
  checkTopicBase('base', options.base);
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

/** A wildcard would reach topics of other devices and programs. Throws `usage`. */
export function checkTopicBase(option: string, text: string): void {
  if (!topicBase.accepts(text.replace(/\/+$/, '')))
    throw new AgentError('usage', `--${option} ${text}: wanted ${topicBase.wanted}`);
}

/** The devices that --to and --except select. Reads the file of groups and tags only when a selector names one. */
export function selectedDevices(
  { to = ['*'], except = [], fleet }: FleetOptions,
  unused?: Set<string>,
): DeviceFilter {
  if (![...to, ...except].some(isNamedSelection)) return selectDevices(to, except, {}, unused);
  return selectDevices(to, except, readFleetGroups(fleet), unused);
}

/** Reads the file of groups and tags. Throws `usage`. */
export function readFleetGroups(path: string): FleetGroups {
  const faults: ConfigFault[] = [];
  const value = readSettingsFile(path, faults);
  const [fault] = faults;
  if (fault !== undefined)
    throw new AgentError('usage', `${path}: ${fault.given}, wanted ${fault.wanted}`, {
      hint: 'name the file of groups and tags with --fleet',
    });
  return parseFleetGroups(value, path);
}

/** Parses the number of an option. Throws `usage`. */
export function parseNumber(option: string, text: string, min: number, max: number): number {
  const value = Number(text);
  if (text.trim() !== '' && value >= min && value <= max) return value;
  throw new AgentError('usage', `--${option} ${text} is not between ${String(min)} and ${String(max)}`);
}

/** Parses a percentage, with or without its sign. Throws `usage`. */
export const parsePercent = (option: string, text: string, min: number): number =>
  parseNumber(option, text.replace(/%$/, ''), min, 100);

/** Parses a number of devices. Throws `usage`. */
export function parseCount(option: string, text: string): number {
  const value = parseNumber(option, text, 0, 100_000);
  if (Number.isInteger(value)) return value;
  throw new AgentError('usage', `--${option} ${text} is not a whole number`);
}

export function readCaFile(path: string): string {
  try {
    return readCertificateFile(path).map(String).join('');
  } catch (thrown) {
    if (!(thrown instanceof NotPem)) throw thrown;
    throw new AgentError('usage', `--ca ${path}: wanted ${thrown.message}`, { cause: thrown });
  }
}

/** Retained messages arrive within this time. */
const COLLECT_MS = 3000;
/** They have all arrived when none came for this time. */
const QUIET_MS = 1000;

/** Waits for the retained messages of a new subscription. */
export class Collection {
  #newestMs = Infinity;

  /** Call this for each retained message. */
  note(): void {
    this.#newestMs = performance.now();
  }

  async finish(signal: AbortSignal): Promise<void> {
    const endMs = performance.now() + COLLECT_MS;
    while (!signal.aborted && performance.now() < Math.min(endMs, this.#newestMs + QUIET_MS))
      await pause(100, signal);
  }
}

/** Resolves after `ms`, or as soon as the signal fires. */
export const pause = (ms: number, signal: AbortSignal): Promise<void> =>
  systemClock.sleep(ms, signal).catch(() => undefined);
