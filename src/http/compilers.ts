import { fullFormats } from 'ajv-formats/dist/formats.js';
import type { FastifyServerOptions } from 'fastify';
import { schemaChecker, type AnySchema, type ValidateFunction } from '../base/schema-checker.ts';

type Compilers = NonNullable<NonNullable<FastifyServerOptions['schemaController']>['compilersFactory']>;

function buildValidator() {
  const ajv = schemaChecker({ coerceTypes: true, useDefaults: true, formats: fullFormats });
  return ({ schema }: { readonly schema: AnySchema }): ValidateFunction => ajv.compile(schema);
}

/**
 * What fastify checks requests and writes answers with. Its own would load a compiler of serializers and a second kind
 * of schemas, neither of which is used here.
 */
export const COMPILERS: Compilers = {
  // Its types say that the schema comes bare; it comes with the route around it.
  buildValidator: buildValidator as unknown as NonNullable<Compilers['buildValidator']>,
  buildSerializer: () => () => (answer) => JSON.stringify(answer),
};
