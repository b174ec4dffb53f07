import { Ajv, type Options } from 'ajv';

export type { AnySchema, ErrorObject, ValidateFunction } from 'ajv';

/**
 * An ajv instance for the agent's own schemas. It does not validate them against the JSON Schema meta-schema, which takes
 * 40 ms per process on a fast machine, and does not optimize the generated code, which takes longer than it saves.
 */
export const schemaChecker = (options: Options = {}): Ajv =>
  new Ajv({ ...options, meta: false, validateSchema: false, code: { optimize: false } });
