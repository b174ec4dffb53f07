import type { TObject, TSchema } from '@sinclair/typebox';
import { ERROR_CODES, type ErrorCode } from '../../base/errors.ts';
import { SchemaShelf } from '../emit-schemas.ts';
import { ANALYSIS_OPERATIONS } from './analysis-operations.ts';
import { CAMERA_OPERATIONS } from './camera-operations.ts';
import { HEALTH_OPERATIONS, PAGE_OPERATIONS } from './health-operations.ts';
import { FEED, HISTORY_OPERATIONS } from './history-operations.ts';
import { MODEL_OPERATIONS } from './model-operations.ts';
import type { Operation, RequestBody } from './operation.ts';
import { Problem } from './views.ts';

type Json = Record<string, unknown>;

/** All operations of the HTTP API, by operation id. */
export const OPERATIONS = {
  ...ANALYSIS_OPERATIONS,
  ...HISTORY_OPERATIONS,
  ...CAMERA_OPERATIONS,
  ...MODEL_OPERATIONS,
  ...HEALTH_OPERATIONS,
  ...PAGE_OPERATIONS,
} as const satisfies Record<string, Operation>;

export interface OpenApiOptions {
  /** How a failure with this code is told. */
  readonly problem: (code: ErrorCode) => { readonly status: number; readonly title: string };
}

const TAGS: Readonly<Record<Operation['tag'], string>> = {
  analysis: 'Images that are sent in.',
  observations: 'What was observed, and what goes on.',
  cameras: 'The cameras of the device.',
  calibration: "People's readings, and what is learned from them.",
  models: 'Which model runs, and what changes that.',
  health: 'Whether the agent is well.',
  pages: 'The document, and pages.',
};

/** What any request may meet. */
const COMMON: readonly ErrorCode[] = [
  'request_invalid',
  'request_too_large',
  'request_host_refused',
  'request_unauthorized',
  'request_too_many',
  'request_overload',
  'request_stopping',
  'request_timeout',
  'internal',
];
const UNSAFE: readonly ErrorCode[] = ['request_origin_refused', 'request_media_type'];
/** What an operation that answers always never says. */
const NOW_AND_THEN: ReadonlySet<ErrorCode> = new Set(['request_overload', 'request_stopping']);
/** Said of headers that are too long. */
const HEADERS_TOO_LONG = 431;

/** The HTTP side of the contract as an OpenAPI 3.1 document: plain JSON. */
export function openApiDocument(options: OpenApiOptions): Json {
  const shelf = new SchemaShelf();
  shelf.put('Problem', Problem);
  for (const { schema } of Object.values(FEED)) shelf.put(schema.title ?? '', schema);
  const paths: Record<string, Json> = {};
  for (const [id, operation] of Object.entries<Operation>(OPERATIONS)) {
    paths[operation.path] = {
      ...paths[operation.path],
      [operation.method.toLowerCase()]: describe(id, operation, shelf, options),
    };
  }
  return {
    openapi: '3.1.1',
    info: {
      title: 'SwellSight Edge over HTTP',
      version: '1.0.0',
      description:
        'JSON in UTF-8, snake_case, units in the names, times as ISO 8601 UTC with milliseconds; what is not known is `null`, ' +
        'never 0.0. Changes within `v1` are additive. Every failure is a problem document (RFC 9457) with a stable code. A path ' +
        'that is not here is 404 `request_not_found`, a method that is not here 405 `request_method`.',
      license: { name: 'MIT', identifier: 'MIT' },
    },
    servers: [{ url: '/', description: 'The agent that gave this document.' }],
    security: [{ bearer: [] }, {}],
    tags: Object.entries(TAGS).map(([name, description]) => ({ name, description })),
    paths,
    components: {
      schemas: shelf.schemas,
      responses: {
        NotFound: failure(['request_not_found'], options, 404),
        MethodNotAllowed: failure(['request_method'], options, 405),
      },
      securitySchemes: {
        bearer: {
          type: 'http',
          scheme: 'bearer',
          description:
            '`http.token`. Wanted wherever it is set, and it must be set on all addresses but loopback.',
        },
      },
    },
  };
}

function describe(id: string, operation: Operation, shelf: SchemaShelf, options: OpenApiOptions): Json {
  const { tag, summary, description, params, query, headers, body, open } = operation;
  const parameters = [
    ...parametersOf('path', params),
    ...parametersOf('query', query),
    ...parametersOf('header', headers),
  ];
  return {
    operationId: id,
    tags: [tag],
    summary,
    ...(description === undefined ? {} : { description }),
    ...(open ? { security: [] } : {}),
    ...(parameters.length > 0 ? { parameters } : {}),
    ...(body ? { requestBody: describeBody(body, shelf) } : {}),
    responses: responsesOf(operation, shelf, options),
  };
}

function parametersOf(place: 'path' | 'query' | 'header', object: TObject | undefined): Json[] {
  return Object.entries(object?.properties ?? {}).map(([name, { description, ...schema }]) => ({
    name,
    in: place,
    required: place === 'path' || (object?.required?.includes(name) === true && !('default' in schema)),
    ...(description === undefined ? {} : { description }),
    schema,
    // A flag may stand alone.
    ...(place === 'query' && 'enum' in schema && (schema['enum'] as unknown[]).includes('')
      ? { allowEmptyValue: true }
      : {}),
  }));
}

function describeBody({ contentType, schema, fileTypes, fileField }: RequestBody, shelf: SchemaShelf): Json {
  const encoding = fileField === undefined ? {} : { encoding: { [fileField]: { contentType: fileTypes } } };
  return {
    required: true,
    content: { [contentType]: { schema: shelf.put(schema.title ?? '', schema), ...encoding } },
  };
}

function responsesOf(
  operation: Operation,
  shelf: SchemaShelf,
  options: OpenApiOptions,
): Record<string, Json> {
  const responses: Record<string, Json & { content: Json }> = {};
  for (const { status, description, contentType, schema } of operation.answers) {
    const before = responses[status];
    responses[status] = {
      description: before ? `${String(before['description'])} ${description}` : description,
      content: {
        ...before?.content,
        ...(contentType === null ? {} : { [contentType]: mediaOf(schema, shelf) }),
      },
    };
  }
  const byStatus = new Map<number, ErrorCode[]>();
  for (const code of errorsOf(operation))
    for (const status of statusesOf(code, operation, options))
      byStatus.set(status, [...(byStatus.get(status) ?? []), code]);
  for (const [status, codes] of [...byStatus].sort(([one], [another]) => one - another)) {
    const told = failure(codes, options, status);
    const before = responses[status];
    const content = { ...before?.content, ...(told['content'] as Json) };
    responses[status] = {
      ...told,
      ...(before
        ? { description: `${String(before['description'])} Or: ${String(told['description'])}` }
        : {}),
      content,
    };
  }
  return responses;
}

function statusesOf(code: ErrorCode, { method, params }: Operation, { problem }: OpenApiOptions): number[] {
  const { status } = problem(code);
  if (code !== 'request_too_large') return [status];
  // Without parameters in the path, and without a body, nothing can be too long but the headers.
  return method === 'GET' && !params ? [HEADERS_TOO_LONG] : [status, HEADERS_TOO_LONG];
}

function mediaOf(schema: TSchema | null, shelf: SchemaShelf): Json {
  return schema === null ? {} : { schema: shelf.put(schema.title ?? '', schema) };
}

/** Every code that the operation may fail with. */
export function errorsOf(operation: Operation): ErrorCode[] {
  const { method, errors, open, always } = operation;
  const codes = [
    ...COMMON.filter(
      (code) => !(open && code === 'request_unauthorized') && !(always && NOW_AND_THEN.has(code)),
    ),
    ...(method === 'GET' ? [] : UNSAFE),
    ...errors,
  ];
  return [...new Set(codes)];
}

const HEADERS: Readonly<Record<number, Json>> = {
  401: { 'WWW-Authenticate': { schema: { type: 'string' } } },
  405: { Allow: { schema: { type: 'string' }, description: 'The methods that there are.' } },
  429: { 'Retry-After': { schema: { type: 'string' }, description: 'Seconds.' } },
  503: { 'Retry-After': { schema: { type: 'string' }, description: 'Seconds.' } },
};

function failure(codes: readonly ErrorCode[], { problem }: OpenApiOptions, status: number): Json {
  const titles = [...new Set(codes.map((code) => problem(code).title))];
  return {
    description: `${titles.join('; ')}.\n\n${codes.map((code) => `- \`${code}\`: ${ERROR_CODES[code].hint}`).join('\n')}`,
    ...(HEADERS[status] ? { headers: HEADERS[status] } : {}),
    content: {
      'application/problem+json': {
        schema: {
          allOf: [
            { $ref: '#/components/schemas/Problem' },
            { properties: { status: { const: status }, code: { enum: [...codes].sort() } } },
          ],
        },
      },
    },
  };
}
