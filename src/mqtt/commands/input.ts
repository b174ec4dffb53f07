import { fullFormats } from 'ajv-formats/dist/formats.js';
import { Command, COMMAND_ARGS, type CommandArgs, type CommandName } from '../../contract/command.ts';
import { schemaChecker, type ValidateFunction } from '../../base/schema-checker.ts';
import { readStrictJson } from './json.ts';
import type { CommandTimes } from './time.ts';

/** Larger payloads are not read. */
export const MAX_COMMAND_BYTES = 65_536;
const MAX_ID = 128;
/** A surrogate without its other half. */
const HALF_CHARACTER = /\p{Cs}/u;

/** A command whose arguments were checked. */
export type KnownCommand = {
  readonly [N in CommandName]: { readonly name: N; readonly args: CommandArgs<N> };
}[CommandName];

/** What no schema can say of the arguments; the fault, or null. */
export type ArgsRules = { readonly [N in CommandName]?: (args: CommandArgs<N>) => string | null };

export type CommandInput =
  | {
      readonly ok: true;
      readonly id: string;
      readonly times: CommandTimes;
      readonly command: KnownCommand;
    }
  /** `id` is null where none could be read. */
  | { readonly ok: false; readonly id: string | null; readonly reason: string };

/** Reads and checks what came on `cmd/{name}`, by the contract's schemas. */
export class CommandReader {
  readonly #rules: ArgsRules;
  readonly #ajv = schemaChecker({ strict: false, formats: fullFormats });
  readonly #envelope = this.#ajv.compile<Command>(Command);
  readonly #args = new Map<CommandName, ValidateFunction>();

  constructor(rules: ArgsRules = {}) {
    this.#rules = rules;
  }

  read(name: string, payload: Uint8Array): CommandInput {
    const refused = (id: string | null, reason: string): CommandInput => ({ ok: false, id, reason });
    if (payload.length > MAX_COMMAND_BYTES) return refused(null, 'too_large');
    const json = readStrictJson(payload);
    if (!json.ok) return refused(null, `malformed: ${json.fault}`);
    const { value } = json;
    if (!this.#envelope(value)) return refused(readId(value), `malformed: ${this.#faults(this.#envelope)}`);
    const { id } = value;
    // The store keeps text as UTF-8: two different broken ids would become one there.
    if (HALF_CHARACTER.test(id)) return refused(null, 'malformed: /id is no Unicode text');
    if (!isCommandName(name)) return refused(id, 'unknown_command');
    const args: unknown = value.args ?? {};
    const validate = this.#validator(name);
    if (!validate(args)) return refused(id, `bad_args: ${this.#faults(validate)}`);
    // The schema of this very name has passed the arguments.
    const command = { name, args } as KnownCommand;
    const fault = ruleFault(this.#rules, command);
    if (fault !== null) return refused(id, `bad_args: ${fault}`);
    const times = { issuedAtMs: timeOf(value.issued_at), expiresAtMs: timeOf(value.expires_at) };
    return { ok: true, id, times, command };
  }

  #validator(name: CommandName): ValidateFunction {
    const known = this.#args.get(name);
    if (known) return known;
    const made = this.#ajv.compile(COMMAND_ARGS[name]);
    this.#args.set(name, made);
    return made;
  }

  #faults(validate: ValidateFunction): string {
    return this.#ajv.errorsText(validate.errors, { dataVar: '' }).slice(0, 300);
  }
}

const isCommandName = (name: string): name is CommandName => Object.hasOwn(COMMAND_ARGS, name);

const ruleFault = <N extends CommandName>(
  rules: ArgsRules,
  command: { readonly name: N; readonly args: CommandArgs<N> },
): string | null => rules[command.name]?.(command.args) ?? null;

const timeOf = (text: string | undefined): number | null => (text === undefined ? null : Date.parse(text));

/** The id of a command that is wrong otherwise, so that its sender knows which one was meant. */
function readId(value: unknown): string | null {
  if (typeof value !== 'object' || value === null || !('id' in value)) return null;
  const { id } = value;
  return typeof id === 'string' && id.length <= MAX_ID && !HALF_CHARACTER.test(id) ? id : null;
}
