import { Ajv, type Options } from 'ajv';

export type { AnySchema, ErrorObject, ValidateFunction } from 'ajv';

/**
 * Checks values against schemas of this house; each is compiled when it is first asked for, and kept. They are not
 * checked against the schema of schemas, whose compilation alone takes 40 ms of a fast machine in each process; and what
 * is compiled is run too rarely to be worth being optimized, which takes longer than all the rest.
 */
export const schemaChecker = (options: Options = {}): Ajv =>
  new Ajv({ ...options, meta: false, validateSchema: false, code: { optimize: false } });
