import { Type, type Static, type TObject, type TSchema } from '@sinclair/typebox';
import type { ErrorCode } from '../../base/errors.ts';
import { Id, StringEnum, closed } from '../schema-parts.ts';

export type Method = 'GET' | 'POST' | 'PUT' | 'DELETE';
export type Tag = 'analysis' | 'observations' | 'cameras' | 'calibration' | 'models' | 'health' | 'pages';

/** One way in which an operation answers when it did not fail. */
export interface Answer {
  readonly status: number;
  readonly description: string;
  /** Null for an answer without a body. */
  readonly contentType: string | null;
  /** Null for what is no JSON. */
  readonly schema: TSchema | null;
}

export interface RequestBody {
  readonly contentType: 'application/json' | 'multipart/form-data';
  readonly schema: TSchema;
  /** The operation looks at it itself: its refusals have codes of their own. */
  readonly checkedByOperation?: true;
  /** Of the files in a form. */
  readonly fileTypes?: string;
  readonly fileField?: string;
}

/**
 * One method of one path: the one source of the OpenAPI document and of the schemas that the server checks requests
 * with.
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
  /** Beside those that any request may meet. */
  readonly errors: readonly ErrorCode[];
  /** Wants no token. */
  readonly open?: true;
  /** However much is asked for at the same time, and while the agent stops. */
  readonly always?: true;
}

export const json = <const S extends number, T extends TSchema>(
  status: S,
  description: string,
  schema: T,
) => ({
  status,
  description,
  contentType: 'application/json' as const,
  schema,
});

export const other = (status: number, description: string, contentType: string) => ({
  status,
  description,
  contentType,
  schema: null,
});

/** `?annotate` alone is a yes. */
export const FLAGS: readonly string[] = ['', '1', 'true', '0', 'false'];
export const Flag = StringEnum([...FLAGS]);

export const isSet = (flag: string | undefined): boolean =>
  flag !== undefined && flag !== '0' && flag !== 'false';

export const CameraId: typeof Id = { ...Id, description: 'id of a configured camera' };
export const CameraParams = Type.Object({ id: CameraId }, closed);
export type CameraParams = Static<typeof CameraParams>;

/** What reading from the store may end in. */
export const STORE_READ = ['store_failed', 'store_corrupt'] as const satisfies readonly ErrorCode[];
export const STORE_WRITE = [...STORE_READ, 'store_full'] as const satisfies readonly ErrorCode[];
/** What asking the vision process may end in. */
export const VISION = [
  'vision_crashed',
  'vision_timeout',
  'vision_busy',
  'vision_closed',
  'vision_start_failed',
  'vision_output_invalid',
] as const satisfies readonly ErrorCode[];
