import type { TSchema } from '@sinclair/typebox';
import { CHANNELS } from './channels.ts';
import { Command, CommandResult } from './command.ts';
import { COMMAND_RESULTS } from './command-results.ts';

type Json = Record<string, unknown>;

/** Schemas of a document, each once: what has an `$id` of its own stands under its title and is referred to. */
export class SchemaShelf {
  readonly schemas: Record<string, Json> = {};

  /** Puts a schema in its place; returns the reference to it. */
  put(name: string, schema: TSchema): Json {
    if (!(name in this.schemas)) {
      // First, for a schema may come again within itself.
      this.schemas[name] = {};
      const { $id, ...rest } = schema;
      this.schemas[name] = {
        ...(this.#inline(rest) as Json),
        ...($id === undefined ? {} : { 'x-schema-id': $id }),
      };
    }
    return { $ref: `#/components/schemas/${name}` };
  }

  #inline(value: unknown): unknown {
    if (Array.isArray(value)) return value.map((one) => this.#inline(one));
    if (typeof value !== 'object' || value === null) return value;
    const { $id, title } = value as { readonly $id?: unknown; readonly title?: unknown };
    if (typeof $id === 'string' && typeof title === 'string') return this.put(title, value as TSchema);
    return Object.fromEntries(Object.entries(value).map(([key, inner]) => [key, this.#inline(inner)]));
  }
}

/** Every payload that has an identifier of its own, by that identifier. */
export function identifiedSchemas(): ReadonlyMap<string, TSchema> {
  const payloads = CHANNELS.flatMap(({ messages }) => messages.map(({ schema }) => schema));
  return new Map(
    [...payloads, Command, CommandResult, ...Object.values(COMMAND_RESULTS)].flatMap((schema) =>
      schema?.$id === undefined ? [] : [[schema.$id, schema] as const],
    ),
  );
}
