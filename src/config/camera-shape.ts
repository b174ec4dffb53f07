import { schemaChecker, type ErrorObject } from '../base/schema-checker.ts';
import { shown, type ConfigFault } from './faults.ts';
import { CameraSettings, type CameraInput } from './schema.ts';
import { nearest } from './suggest.ts';

const checker = schemaChecker({ allErrors: true, verbose: true, strict: false });

/** A camera whose keys in `broken` do not have their shape; the others do. */
export interface ShapedCamera {
  readonly index: number;
  readonly camera: Partial<CameraInput>;
  readonly broken: ReadonlySet<string>;
}

/** Checks the shape of `cameras[]`. Every fault is told, and the sound keys of each camera are given back. */
export function checkCameraShapes(
  cameras: readonly unknown[],
  origin: string,
  faults: ConfigFault[],
): readonly ShapedCamera[] {
  const validate = checker.compile<CameraInput>(CameraSettings);
  return cameras.flatMap((camera, index) => {
    if (validate(camera)) return [{ index, camera, broken: new Set<string>() }];
    const key = `cameras[${String(index)}]`;
    const broken = new Set<string>();
    for (const error of validate.errors ?? []) {
      const fault = toFault(error, key, origin);
      broken.add(/^\.(\w+)/.exec(fault.key.slice(key.length))?.[1] ?? '');
      if (!faults.some((known) => known.key === fault.key && known.wanted === fault.wanted))
        faults.push(fault);
    }
    if (typeof camera !== 'object' || camera === null || Array.isArray(camera)) return [];
    const sound = Object.entries(camera).filter(([name]) => !broken.has(name));
    return [{ index, camera: Object.fromEntries(sound), broken }];
  });
}

function toFault(error: ErrorObject, prefix: string, origin: string): ConfigFault {
  const params = error.params as Record<string, unknown>;
  const at = keyOf(prefix, error.instancePath);
  if (error.keyword === 'required') {
    const key = `${at}.${String(params['missingProperty'])}`;
    return { key, given: 'nothing', wanted: 'a value', origin };
  }
  if (error.keyword === 'additionalProperties') {
    const name = String(params['additionalProperty']);
    const known = Object.keys((error.parentSchema?.['properties'] ?? {}) as object);
    const meant = nearest(name, known);
    const wanted = meant === null ? `one of ${known.join(', ')}` : `perhaps ${meant}`;
    return { key: `${at}.${name}`, given: 'an unknown key', wanted, origin };
  }
  return { key: at, given: shown(at, error.data), wanted: wantedBy(error, params), origin };
}

function wantedBy(error: ErrorObject, params: Record<string, unknown>): string {
  const limit = String(params['limit']);
  switch (error.keyword) {
    case 'type':
      return (
        { integer: 'a whole number', object: '{…}', array: 'a list', string: 'text' }[
          String(params['type'])
        ] ?? `a ${String(params['type'])}`
      );
    case 'enum':
      return `one of ${(params['allowedValues'] as unknown[]).map(String).join(', ')}`;
    case 'pattern':
      return '1 to 64 of A-Z a-z 0-9 _ . -, the first a letter or digit';
    case 'minimum':
      return `at least ${limit}`;
    case 'maximum':
      return `at most ${limit}`;
    case 'exclusiveMinimum':
      return `more than ${limit}`;
    case 'minLength':
    case 'minItems':
      return `at least ${limit} of them`;
    case 'maxItems':
      return `at most ${limit} of them`;
    default:
      return error.message ?? 'another value';
  }
}

const keyOf = (prefix: string, pointer: string): string =>
  prefix +
  pointer
    .split('/')
    .slice(1)
    .map((part) =>
      /^\d+$/.test(part) ? `[${part}]` : `.${part.replaceAll('~1', '/').replaceAll('~0', '~')}`,
    )
    .join('');
