import type { TSchema } from '@sinclair/typebox';
import { CHANNELS } from './channels.ts';
import { Command, CommandResult } from './command.ts';
import { COMMAND_RESULTS } from './command-results.ts';
import { openForAdditions } from './schema-parts.ts';

type Json = Record<string, unknown>;

/** Collects the schemas of a document. A schema with an `$id` is stored once, under its title, and referenced elsewhere. */
export class SchemaRegistry {
  readonly schemas: Record<string, Json> = {};

  /** Stores a schema and returns a reference to it. */
  add(name: string, schema: TSchema): Json {
    if (!(name in this.schemas)) {
      // Reserve the name first, because a schema may contain itself.
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
    if (Array.isArray(value)) return value.map((item) => this.#inline(item));
    if (typeof value !== 'object' || value === null) return value;
    const { $id, title } = value as { readonly $id?: unknown; readonly title?: unknown };
    if (typeof $id === 'string' && typeof title === 'string') return this.add(title, value as TSchema);
    return Object.fromEntries(Object.entries(value).map(([key, inner]) => [key, this.#inline(inner)]));
  }
}

/** All payload schemas that have an `$id`, by that id. Those of published messages are open for additions, that of commands is strict. */
export function identifiedSchemas(): ReadonlyMap<string, TSchema> {
  const payloads = CHANNELS.flatMap(({ messages }) => messages.map(({ schema }) => schema));
  return new Map(
    [...payloads, Command, CommandResult, ...Object.values(COMMAND_RESULTS)].flatMap((schema) =>
      schema?.$id === undefined
        ? []
        : [[schema.$id, schema === Command ? schema : openForAdditions(schema)] as const],
    ),
  );
}
