import { Ajv, type Options } from 'ajv';

export type { AnySchema, ErrorObject, ValidateFunction } from 'ajv';

/**
 * Checks values against schemas of this house; each is compiled when it is first asked for, and kept. They are not
 * checked against the schema of schemas: its compilation alone takes 40 ms of a fast machine and 1 MB, in each process.
 */
export const schemaChecker = (options: Options = {}): Ajv =>
  new Ajv({ ...options, meta: false, validateSchema: false });
