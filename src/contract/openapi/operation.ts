import { Type, type Static, type TObject, type TSchema } from '@sinclair/typebox';
import type { ErrorCode } from '../../base/errors.ts';
import { Id, StringEnum, closed } from '../schema-parts.ts';

export type Method = 'GET' | 'POST' | 'PUT' | 'PATCH' | 'DELETE';
export type Tag =
  | 'analysis'
  | 'observations'
  | 'cameras'
  | 'calibration'
  | 'configuration'
  | 'models'
  | 'agent'
  | 'health'
  | 'pages';

/** A successful response of an operation. */
export interface Answer {
  readonly status: number;
  readonly description: string;
  /** Null for a response without a body. */
  readonly contentType: string | null;
  /** Null for a body that is not JSON. */
  readonly schema: TSchema | null;
}

export interface RequestBody {
  readonly contentType: 'application/json' | 'multipart/form-data';
  readonly schema: TSchema;
  /** The operation validates the body itself, because its errors have own codes. */
  readonly checkedByOperation?: true;
  /** Media types of the files in a form. */
  readonly fileTypes?: string;
  readonly fileField?: string;
}

/**
 * One method of one path. The OpenAPI document and the validation of requests come from it.
 */
export interface Operation {
  readonly method: Method;
  /** Variable parts in braces. */
  readonly path: string;
  readonly tag: Tag;
  readonly summary: string;
  readonly description?: string;
  readonly params?: TObject;
  readonly query?: TObject;
  readonly headers?: TObject;
  readonly body?: RequestBody;
  readonly answers: readonly Answer[];
  /** In addition to the errors of all operations. */
  readonly errors: readonly ErrorCode[];
  /** Requires no token. */
  readonly open?: true;
  /** Responds also under overload, and while the agent stops. */
  readonly always?: true;
}

/** An operation without the tag of its group; `errors` may be missing. */
type UntaggedOperation = Omit<Operation, 'tag' | 'errors'> & Partial<Pick<Operation, 'errors'>>;

/** The operations of one tag. */
export const operations = <const T extends Readonly<Record<string, UntaggedOperation>>>(
  tag: Tag,
  untagged: T,
) =>
  Object.fromEntries(
    Object.entries<UntaggedOperation>(untagged).map(([id, operation]) => [
      id,
      { errors: [], ...operation, tag },
    ]),
  ) as unknown as { readonly [K in keyof T]: T[K] & Pick<Operation, 'tag' | 'errors'> };

export const jsonAnswer = <const S extends number, T extends TSchema>(
  status: S,
  description: string,
  schema: T,
) => ({
  status,
  description,
  contentType: 'application/json' as const,
  schema,
});

export const mediaAnswer = (status: number, description: string, contentType: string) => ({
  status,
  description,
  contentType,
  schema: null,
});

/** `?annotate` without a value is true. */
export const FLAGS: readonly string[] = ['', '1', 'true', '0', 'false'];
export const Flag = StringEnum([...FLAGS]);

export const isSet = (flag: string | undefined): boolean =>
  flag !== undefined && flag !== '0' && flag !== 'false';

export const CameraId: typeof Id = { ...Id, description: 'id of a configured camera' };
export const CameraParams = Type.Object({ id: CameraId }, closed);
export type CameraParams = Static<typeof CameraParams>;

export const STORE_READ_ERRORS = ['store_failed', 'store_corrupt'] as const satisfies readonly ErrorCode[];
export const STORE_WRITE_ERRORS = [
  ...STORE_READ_ERRORS,
  'store_full',
] as const satisfies readonly ErrorCode[];
export const VISION_ERRORS = [
  'vision_crashed',
  'vision_timeout',
  'vision_busy',
  'vision_closed',
  'vision_start_failed',
  'vision_output_invalid',
] as const satisfies readonly ErrorCode[];
