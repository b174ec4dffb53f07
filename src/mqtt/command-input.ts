import { Ajv, type ValidateFunction } from 'ajv';
import { fullFormats } from 'ajv-formats/dist/formats.js';
import { Command, COMMAND_ARGS, type CommandArgs, type CommandName } from '../contract/command.ts';

/** Larger payloads are not read. */
export const LARGEST_COMMAND_BYTES = 65_536;

/** A command whose arguments were checked. */
export type KnownCommand = {
  readonly [N in CommandName]: { readonly name: N; readonly args: CommandArgs<N> };
}[CommandName];

export type CommandInput =
  | {
      readonly ok: true;
      readonly id: string;
      readonly expiresAtMs: number | null;
      readonly command: KnownCommand;
    }
  /** `id` is null where none could be read. */
  | { readonly ok: false; readonly id: string | null; readonly reason: string };

/** Reads and checks what came on `cmd/{name}`, by the contract's schemas. */
export class CommandReader {
  readonly #ajv = new Ajv({ strict: false, formats: fullFormats });
  readonly #envelope = this.#ajv.compile<Command>(Command);
  readonly #args = new Map<CommandName, ValidateFunction>();

  read(name: string, payload: Uint8Array): CommandInput {
    if (payload.length > LARGEST_COMMAND_BYTES) return { ok: false, id: null, reason: 'too_large' };
    const value = parse(payload);
    if (value === undefined) return { ok: false, id: null, reason: 'malformed: no JSON' };
    if (!this.#envelope(value))
      return { ok: false, id: readId(value), reason: `malformed: ${this.#faults(this.#envelope)}` };
    if (!isCommandName(name)) return { ok: false, id: value.id, reason: 'unknown_command' };
    const validate = this.#args.get(name) ?? this.#ajv.compile(COMMAND_ARGS[name]);
    this.#args.set(name, validate);
    const args: unknown = value.args ?? {};
    if (!validate(args)) return { ok: false, id: value.id, reason: `bad_args: ${this.#faults(validate)}` };
    return {
      ok: true,
      id: value.id,
      expiresAtMs: value.expires_at === undefined ? null : Date.parse(value.expires_at),
      // The schema of this very name has passed the arguments.
      command: { name, args } as KnownCommand,
    };
  }

  #faults(validate: ValidateFunction): string {
    return this.#ajv.errorsText(validate.errors, { dataVar: '' }).slice(0, 300);
  }
}

const isCommandName = (name: string): name is CommandName => Object.hasOwn(COMMAND_ARGS, name);

function parse(payload: Uint8Array): unknown {
  try {
    return JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(payload)) as unknown;
  } catch {
    return undefined;
  }
}

/** The id of a command that is wrong otherwise, so that its sender knows which one was meant. */
function readId(value: unknown): string | null {
  if (typeof value !== 'object' || value === null || !('id' in value)) return null;
  return typeof value.id === 'string' && value.id.length <= 128 ? value.id : null;
}
