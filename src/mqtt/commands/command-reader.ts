import { toPrintable } from '../../base/printable.ts';
import { fullFormats } from 'ajv-formats/dist/formats.js';
import type { Clock } from '../../base/clock.ts';
import { schemaChecker, type ErrorObject, type ValidateFunction } from '../../base/schema-checker.ts';
import type { Rejection } from '../../contract/codes.ts';
import { Command, COMMAND_ARGS, type CommandArgs, type CommandName } from '../../contract/command.ts';

/** Larger payloads are rejected without parsing. */
const MAX_COMMAND_BYTES = 65_536;
const MAX_ID_CHARS = 128;
const MAX_FAULT_CHARS = 300;
/** Maximum nesting of a command; no command needs more. */
const MAX_JSON_DEPTH = 16;
const MAX_BACKFILL_RECORDS = 10_000;
/** The sender's clock and the device's clock may differ by this much. */
const MAX_CLOCK_SKEW_MS = 5 * 60_000;
/** After a boot, a time source may take this long to set the clock. */
const CLOCK_SETTLING_MS = 5 * 60_000;
/** Matches one half of a surrogate pair without the other half: invalid Unicode. */
const LONE_SURROGATE = /\p{Cs}/u;
/** Matches the strings and brackets of valid JSON, and the colon after a string that is a member name. */
const JSON_TOKEN = /"(?:[^"\\]|\\.)*"(?=[\x20\t\r\n]*(:)?)|[{}[\]]/g;

/** A command with checked arguments. */
export type KnownCommand = {
  readonly [N in CommandName]: { readonly name: N; readonly args: CommandArgs<N> };
}[CommandName];

/** The times of a command, ms since 1970; null for a time that the command does not contain. */
export interface CommandTimes {
  readonly issuedAtMs: number | null;
  readonly expiresAtMs: number | null;
}

export type CommandInput =
  | {
      readonly ok: true;
      readonly id: string;
      readonly times: CommandTimes;
      /** False: the sender wants only the final answer. */
      readonly wantsReceipt: boolean;
      readonly command: KnownCommand;
    }
  /** `id` is null when the message contains no valid id. */
  | { readonly ok: false; readonly id: string | null; readonly reason: Rejection };

/** Parses messages from `cmd/{name}` and checks them against the schemas of the contract. */
export class CommandReader {
  readonly #ajv = schemaChecker({ strict: false, formats: fullFormats });
  readonly #envelope = this.#ajv.compile<Command>(Command);
  readonly #validators = new Map<CommandName, ValidateFunction>();

  read(name: string, payload: Uint8Array): CommandInput {
    const invalid = (id: string | null, reason: Rejection): CommandInput => ({ ok: false, id, reason });
    if (payload.length > MAX_COMMAND_BYTES) return invalid(null, 'too_large');
    const json = parseStrictJson(payload);
    if (!json.ok) return invalid(null, `malformed: ${json.fault}`);
    const { value } = json;
    if (!this.#envelope(value))
      return invalid(readId(value), `malformed: ${this.#describeFaults(this.#envelope)}`);
    const { id } = value;
    // The store keeps ids as UTF-8. Two different ids with invalid Unicode would become the same id there.
    if (LONE_SURROGATE.test(id)) return invalid(null, 'malformed: /id is not valid Unicode');
    if (!isCommandName(name)) return invalid(id, 'unknown_command');
    const args: unknown = value.args ?? {};
    const validate = this.#validatorFor(name);
    if (!validate(args)) return invalid(id, `bad_args: ${this.#describeFaults(validate)}`);
    // The arguments conform to the schema of this name.
    const command = { name, args } as KnownCommand;
    const fault = findArgsFault(command);
    if (fault !== null) return invalid(id, `bad_args: ${fault}`);
    const times = { issuedAtMs: parseTime(value.issued_at), expiresAtMs: parseTime(value.expires_at) };
    return { ok: true, id, times, wantsReceipt: value.receipt ?? true, command };
  }

  /** Compiles each schema at its first use. */
  #validatorFor(name: CommandName): ValidateFunction {
    const compiled = this.#validators.get(name) ?? this.#ajv.compile(COMMAND_ARGS[name]);
    this.#validators.set(name, compiled);
    return compiled;
  }

  #describeFaults(validate: ValidateFunction): string {
    // The names of unknown arguments come from the sender.
    const text = toPrintable((validate.errors ?? []).map(describeFault).join(', '));
    return text.slice(0, MAX_FAULT_CHARS).toWellFormed();
  }
}

function describeFault({ instancePath, keyword, params, message }: ErrorObject): string {
  if (keyword === 'additionalProperties')
    return `${instancePath}/${String(params['additionalProperty'])} is unknown`;
  return `${instancePath} ${message ?? 'is invalid'}`.trim();
}

const isCommandName = (name: string): name is CommandName => Object.hasOwn(COMMAND_ARGS, name);

const parseTime = (text: string | undefined): number | null => (text === undefined ? null : Date.parse(text));

/** The id of an invalid command, if the id itself is valid: its sender can then match the rejection to the command. */
function readId(value: unknown): string | null {
  if (typeof value !== 'object' || value === null || !('id' in value)) return null;
  const { id } = value;
  return typeof id === 'string' && id.length <= MAX_ID_CHARS && !LONE_SURROGATE.test(id) ? id : null;
}

/** Makes the checks that a JSON schema cannot express. */
function findArgsFault(command: KnownCommand): string | null {
  if (command.name !== 'backfill') return null;
  const { from_seq, to_seq } = command.args;
  if (to_seq < from_seq) return '/to_seq is below /from_seq';
  return to_seq - from_seq >= MAX_BACKFILL_RECORDS
    ? `more than ${MAX_BACKFILL_RECORDS} records at once`
    : null;
}

export type StrictJson =
  { readonly ok: true; readonly value: unknown } | { readonly ok: false; readonly fault: string };

/**
 * Parses JSON that every parser understands in the same way: valid UTF-8, and no duplicate member names (RFC 7493
 * section 2.3). The nesting is limited to `MAX_JSON_DEPTH`.
 */
export function parseStrictJson(bytes: Uint8Array): StrictJson {
  let text: string;
  let value: unknown;
  try {
    text = new TextDecoder('utf-8', { fatal: true }).decode(bytes);
    value = JSON.parse(text) as unknown;
  } catch {
    return { ok: false, fault: 'not valid JSON' };
  }
  const fault = findStructureFault(text);
  return fault === null ? { ok: true, value } : { ok: false, fault };
}

function findStructureFault(json: string): string | null {
  /** For each object or array that is not closed yet: the member names of the object; null for an array. */
  const open: (Set<string> | null)[] = [];
  for (const [token, colon] of json.matchAll(JSON_TOKEN)) {
    if (token === '}' || token === ']') open.pop();
    else if (token === '{' || token === '[') {
      if (open.push(token === '{' ? new Set() : null) > MAX_JSON_DEPTH) return 'nested too deeply';
    } else if (colon !== undefined) {
      // Compare decoded names: "a" and "\u0061" are the same name.
      const name = JSON.parse(token) as string;
      const names = open.at(-1);
      if (names?.has(name)) return 'duplicate member name in an object';
      names?.add(name);
    }
  }
  return null;
}

export type TimeVerdict = 'in_time' | 'expired' | 'clock_unsynced' | 'issued_in_future';

/**
 * Decides from the times of a command whether it may start. A command without `expires_at` may always start. A command
 * with `expires_at` may not start while the clock of the device may be wrong, because it may have expired long ago.
 */
export function judgeTimes(times: CommandTimes, clock: Clock, isSynced: boolean): TimeVerdict {
  const { issuedAtMs, expiresAtMs } = times;
  if (expiresAtMs === null) return 'in_time';
  const nowMs = clock.nowMs();
  // A command is also expired if it expires before it was issued, or if one of its times is NaN.
  if (!(expiresAtMs > nowMs) || (issuedAtMs !== null && !(expiresAtMs > issuedAtMs))) return 'expired';
  const isFromFuture = issuedAtMs !== null && issuedAtMs > nowMs + MAX_CLOCK_SKEW_MS;
  if (!isSynced && (isFromFuture || clock.monoMs() < CLOCK_SETTLING_MS)) return 'clock_unsynced';
  return isFromFuture ? 'issued_in_future' : 'in_time';
}
