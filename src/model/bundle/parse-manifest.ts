import type { TSchema, Static } from '@sinclair/typebox';
import { AgentError } from '../../base/errors.ts';
import { schemaChecker, type ErrorObject } from '../../base/schema-checker.ts';
import { Manifest } from '../manifest.ts';
import { findFaults } from './manifest-faults.ts';

/** Larger than any honest manifest: sixteen golden images with a few thousand values each. */
export const MANIFEST_MAX_BYTES = 4 * 1024 * 1024;

const ajv = schemaChecker({ allErrors: true, verbose: true, strict: true });

/**
 * Reads a bundle's `model.json`: JSON, schema, and what no schema can say (references, order, lengths).
 * Throws `model_manifest_invalid` that names every fault at once, also in `context.faults`.
 */
export function parseManifest(text: string): Manifest {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (error) {
    throw invalid([`no JSON: ${error instanceof Error ? error.message : String(error)}`], error);
  }
  if (holds(Manifest, value)) {
    const faults = findFaults(value);
    if (faults.length > 0) throw invalid(faults);
    return value;
  }
  const faults = schemaFaults(ajv.errors ?? []);
  // The parts that have the right shape are looked through all the same, so that one round of mending is enough.
  const parts: Partial<Record<string, unknown>> = isRecord(value) ? value : {};
  const properties = Manifest.properties;
  const sound = {
    ...(holds(properties.version, parts.version) && { version: parts.version }),
    ...(holds(properties.stages, parts.stages) && { stages: parts.stages }),
    ...(holds(properties.heads, parts.heads) && { heads: parts.heads }),
    ...(holds(properties.golden, parts.golden) && { golden: parts.golden }),
    ...(holds(properties.files, parts.files) && { files: parts.files }),
    ...(holds(properties.requires, parts.requires) && { requires: parts.requires }),
  };
  throw invalid([...faults, ...findFaults(sound)]);
}

const holds = <T extends TSchema>(schema: T, part: unknown): part is Static<T> =>
  ajv.validate<Static<T>>(schema, part);

const isRecord = (value: unknown): value is Record<string, unknown> =>
  typeof value === 'object' && value !== null && !Array.isArray(value);

function invalid(faults: readonly string[], cause?: unknown): AgentError {
  const count = faults.length === 1 ? 'one fault' : `${faults.length} faults`;
  return new AgentError('model_manifest_invalid', `model.json has ${count}: ${faults.join('; ')}`, {
    context: { faults },
    cause,
  });
}

/** One line for each place. Where several shapes are allowed, only that none of them fits. */
function schemaFaults(errors: readonly ErrorObject[]): string[] {
  const unions = errors.filter(({ keyword }) => keyword === 'anyOf').map((error) => error.instancePath);
  const told = errors.filter(
    ({ keyword, instancePath }) =>
      keyword === 'anyOf' ||
      !unions.some((path) => instancePath === path || instancePath.startsWith(`${path}/`)),
  );
  return [...new Set(told.map(describe))];
}

function describe(error: ErrorObject): string {
  const place = placeOf(error.instancePath);
  const params = error.params as Record<string, unknown>;
  switch (error.keyword) {
    case 'additionalProperties':
      return `${place}: unknown key ${String(params['additionalProperty'])}`;
    case 'anyOf':
      return `${place}: ${wanted(error.schema)}`;
    case 'const':
      return `${place}: must be ${JSON.stringify(params['allowedValue'])}`;
    case 'pattern': {
      const meaning: unknown = error.parentSchema?.['description'];
      return `${place}: ${typeof meaning === 'string' ? `must be ${meaning}` : (error.message ?? 'wrong')}`;
    }
    default:
      return `${place}: ${error.message ?? 'wrong'}`;
  }
}

function wanted(union: unknown): string {
  const choices = Array.isArray(union)
    ? union.map((choice: unknown) => (isRecord(choice) ? choice['const'] : null))
    : [];
  const named = choices.filter((choice) => typeof choice === 'string');
  return named.length === choices.length && named.length > 0
    ? `must be one of ${named.join(', ')}`
    : 'must be "frame", "stage.output" or a list of them';
}

/** `/stages/0/inputs/1/from` -> `stages[0].inputs[1].from`. */
const placeOf = (pointer: string): string =>
  pointer
    .split('/')
    .slice(1)
    .map((step) => step.replaceAll('~1', '/').replaceAll('~0', '~'))
    .map((step, index) => (/^\d+$/.test(step) ? `[${step}]` : index === 0 ? step : `.${step}`))
    .join('') || 'model.json';
