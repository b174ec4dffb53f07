import type { TSchema, Static } from '@sinclair/typebox';
import { AgentError } from '../../base/errors.ts';
import { schemaChecker, type ErrorObject } from '../../base/schema-checker.ts';
import { Manifest } from '../manifest.ts';
import { findRuleFaults, PARTS_WITH_RULES, type ValidParts } from './manifest-rules.ts';

/**
 * Size limit of a manifest. It is larger than any real manifest: sixteen golden images with a few thousand values each.
 */
export const MAX_MANIFEST_BYTES = 4 * 1024 * 1024;

const FORMAT = Manifest.properties.format.const;

const ajv = schemaChecker({ allErrors: true, verbose: true, strict: true });

/**
 * Parses the `model.json` of a bundle. Checks that it is JSON, that it matches the schema, and the rules that no schema
 * can express (references, order, lengths). Throws `model_manifest_invalid` with all faults in the message and in
 * `context.faults`, and `model_requires` for a newer format.
 */
export function parseManifest(text: string): Manifest {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (error) {
    throw invalidManifest([`not JSON: ${error instanceof Error ? error.message : String(error)}`], error);
  }
  if (matches(Manifest, value)) {
    const faults = findRuleFaults(value);
    if (faults.length > 0) throw invalidManifest(faults);
    return value;
  }
  const faults = schemaFaults(ajv.errors ?? []);
  requireKnownFormat(value);
  // Also check the rules for the parts that match the schema, so that the author of a bundle can correct all faults at
  // once.
  const parts: Partial<Record<string, unknown>> = isRecord(value) ? value : {};
  const valid = PARTS_WITH_RULES.filter((key) => matches(Manifest.properties[key], parts[key]));
  const validParts: ValidParts = Object.fromEntries(valid.map((key) => [key, parts[key]]));
  throw invalidManifest([...faults, ...findRuleFaults(validParts)]);
}

/** A later agent reads later formats: no other fault matters. */
function requireKnownFormat(value: unknown): void {
  const format = isRecord(value) ? value['format'] : null;
  if (!Number.isSafeInteger(format) || Number(format) <= FORMAT) return;
  throw new AgentError(
    'model_requires',
    `the bundle has format ${String(format)}, this agent reads format ${String(FORMAT)}: update the agent`,
    { hint: 'install a newer version of the agent, then the model' },
  );
}

const matches = <T extends TSchema>(schema: T, part: unknown): part is Static<T> =>
  ajv.validate<Static<T>>(schema, part);

const isRecord = (value: unknown): value is Record<string, unknown> =>
  typeof value === 'object' && value !== null && !Array.isArray(value);

function invalidManifest(faults: readonly string[], cause?: unknown): AgentError {
  const count = faults.length === 1 ? 'one fault' : `${faults.length} faults`;
  return new AgentError('model_manifest_invalid', `model.json has ${count}: ${faults.join('; ')}`, {
    context: { faults },
    cause,
  });
}

/**
 * Describes the schema errors, one line for each place in the manifest. For a union, says only that no alternative
 * matches.
 */
function schemaFaults(errors: readonly ErrorObject[]): string[] {
  const unions = errors.filter(({ keyword }) => keyword === 'anyOf').map((error) => error.instancePath);
  const reported = errors.filter(
    ({ keyword, instancePath }) =>
      keyword === 'anyOf' ||
      !unions.some((path) => instancePath === path || instancePath.startsWith(`${path}/`)),
  );
  return [...new Set(reported.map(describeSchemaError))];
}

function describeSchemaError(error: ErrorObject): string {
  const place = manifestPlace(error.instancePath);
  const params = error.params as Record<string, unknown>;
  switch (error.keyword) {
    case 'additionalProperties':
      return `${place}: unknown key ${String(params['additionalProperty'])}`;
    case 'anyOf':
      return `${place}: ${describeUnion(error.schema)}`;
    case 'const':
      return `${place}: must be ${JSON.stringify(params['allowedValue'])}`;
    case 'pattern': {
      const meaning: unknown = error.parentSchema?.['description'];
      return `${place}: ${typeof meaning === 'string' ? `must be ${meaning}` : (error.message ?? 'invalid')}`;
    }
    default:
      return `${place}: ${error.message ?? 'invalid'}`;
  }
}

function describeUnion(union: unknown): string {
  const choices = Array.isArray(union)
    ? union.map((choice: unknown) => (isRecord(choice) ? choice['const'] : null))
    : [];
  const texts = choices.filter((choice) => typeof choice === 'string');
  return texts.length === choices.length && texts.length > 0
    ? `must be one of ${texts.join(', ')}`
    : 'must be "frame", "stage.output" or a list of them';
}

/** `/stages/0/inputs/1/from` -> `stages[0].inputs[1].from`. */
const manifestPlace = (pointer: string): string =>
  pointer
    .split('/')
    .slice(1)
    .map((step) => step.replaceAll('~1', '/').replaceAll('~0', '~'))
    .map((step, index) => (/^\d+$/.test(step) ? `[${step}]` : index === 0 ? step : `.${step}`))
    .join('') || 'model.json';
