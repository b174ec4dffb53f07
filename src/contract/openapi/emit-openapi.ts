import type { TObject, TSchema } from '@sinclair/typebox';
import { ERROR_CODES, type ErrorCode } from '../../base/errors.ts';
import { SchemaRegistry } from '../emit-schemas.ts';
import { Codes, openForAdditions } from '../schema-parts.ts';
import { AGENT_OPERATIONS } from './agent-operations.ts';
import { ANALYSIS_OPERATIONS } from './analysis-operations.ts';
import { CAMERA_OPERATIONS } from './camera-operations.ts';
import { CONFIG_OPERATIONS } from './config-operations.ts';
import { HEALTH_OPERATIONS, PAGE_OPERATIONS } from './health-operations.ts';
import { FEED, HISTORY_OPERATIONS } from './history-operations.ts';
import { MODEL_OPERATIONS } from './model-operations.ts';
import { SEA_STATE_OPERATIONS } from './sea-state-operations.ts';
import type { Operation, RequestBody } from './operation.ts';
import { Problem } from './views.ts';

type Json = Record<string, unknown>;

/** All operations of the HTTP API, by operation id. */
export const OPERATIONS = {
  ...ANALYSIS_OPERATIONS,
  ...HISTORY_OPERATIONS,
  ...CAMERA_OPERATIONS,
  ...SEA_STATE_OPERATIONS,
  ...MODEL_OPERATIONS,
  ...AGENT_OPERATIONS,
  ...CONFIG_OPERATIONS,
  ...HEALTH_OPERATIONS,
  ...PAGE_OPERATIONS,
} as const satisfies Record<string, Operation>;

export interface OpenApiOptions {
  readonly problem: (code: ErrorCode) => { readonly status: number; readonly title: string };
  /** Responses allow no additions: for tests of the agent. */
  readonly strict?: boolean;
}

const TAGS: Readonly<Record<Operation['tag'], string>> = {
  analysis: 'Analysis of uploaded images.',
  observations: 'Records, events and the outbox.',
  cameras: 'The cameras of the device.',
  calibration: 'Labels, and the calibration that is computed from them.',
  models: 'The active model, installs and rollbacks.',
  agent: 'The versions of the agent itself.',
  configuration: 'The settings of the device, and what is wrong with it.',
  health: 'Health, status and metrics of the agent.',
  pages: 'The OpenAPI document and HTML pages.',
};

/** Errors of all operations. */
const COMMON_ERRORS: readonly ErrorCode[] = [
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
const WRITE_ERRORS: readonly ErrorCode[] = ['request_origin_refused', 'request_media_type'];
/** Errors that do not apply to open operations: they need no token and do not count. */
const ACCESS_ERRORS: ReadonlySet<ErrorCode> = new Set(['request_unauthorized', 'request_too_many']);
/** Errors that do not apply to operations with `always`. */
const OVERLOAD_ERRORS: ReadonlySet<ErrorCode> = new Set(['request_overload', 'request_stopping']);
const HEADERS_TOO_LONG = 431;

/** The HTTP side of the contract as an OpenAPI 3.1 document: plain JSON. */
export function openApiDocument(options: OpenApiOptions): Json {
  const registry = new SchemaRegistry();
  registry.add('Problem', asPublished(Problem, options));
  for (const { schema } of Object.values(FEED))
    registry.add(schema.title ?? '', asPublished(schema, options));
  const paths: Record<string, Json> = {};
  for (const [id, operation] of Object.entries<Operation>(OPERATIONS)) {
    paths[operation.path] = {
      ...paths[operation.path],
      [operation.method.toLowerCase()]: describeOperation(id, operation, registry, options),
    };
  }
  return {
    openapi: '3.1.1',
    info: {
      title: 'SwellSight Edge over HTTP',
      version: '1.0.0',
      description:
        'JSON in UTF-8, snake_case, units in the names, times as ISO 8601 UTC with milliseconds; an unknown value is `null`, ' +
        'never 0.0. Later versions within `v1` may add properties and codes: accept and ignore ' +
        'unknown ones (`x-extensible-enum` lists the codes of this version). Every error is a problem document (RFC 9457) with a stable code. Any other ' +
        'path is 404 `request_not_found`, any other method 405 `request_method`.',
      license: { name: 'MIT', identifier: 'MIT' },
    },
    servers: [{ url: '/', description: 'The agent that serves this document.' }],
    security: [{ bearer: [] }, {}],
    tags: Object.entries(TAGS).map(([name, description]) => ({ name, description })),
    paths,
    components: {
      schemas: registry.schemas,
      responses: {
        NotFound: describeProblem(['request_not_found'], options, 404),
        MethodNotAllowed: describeProblem(['request_method'], options, 405),
      },
      securitySchemes: {
        bearer: {
          type: 'http',
          scheme: 'bearer',
          description:
            'The value of `http.token`. Required when it is set; on every address except loopback it must be set.',
        },
      },
    },
  };
}

function describeOperation(
  id: string,
  operation: Operation,
  registry: SchemaRegistry,
  options: OpenApiOptions,
): Json {
  const { tag, summary, description, params, query, headers, body, open } = operation;
  const parameters = [
    ...describeParameters('path', params),
    ...describeParameters('query', query),
    ...describeParameters('header', headers),
  ];
  return {
    operationId: id,
    tags: [tag],
    summary,
    ...(description === undefined ? {} : { description }),
    ...(open ? { security: [] } : {}),
    ...(parameters.length > 0 ? { parameters } : {}),
    ...(body ? { requestBody: describeBody(body, registry) } : {}),
    responses: describeResponses(operation, registry, options),
  };
}

function describeParameters(place: 'path' | 'query' | 'header', object: TObject | undefined): Json[] {
  return Object.entries(object?.properties ?? {}).map(([name, { description, ...schema }]) => ({
    name,
    in: place,
    required: place === 'path' || (object?.required?.includes(name) === true && !('default' in schema)),
    ...(description === undefined ? {} : { description }),
    schema,
    // A flag may have no value: `?annotate`.
    ...(place === 'query' && 'enum' in schema && (schema['enum'] as unknown[]).includes('')
      ? { allowEmptyValue: true }
      : {}),
  }));
}

function describeBody(
  { contentType, schema, fileTypes, fileField }: RequestBody,
  registry: SchemaRegistry,
): Json {
  const encoding = fileField === undefined ? {} : { encoding: { [fileField]: { contentType: fileTypes } } };
  return {
    required: true,
    content: { [contentType]: { schema: registry.add(schema.title ?? '', schema), ...encoding } },
  };
}

function describeResponses(
  operation: Operation,
  registry: SchemaRegistry,
  options: OpenApiOptions,
): Record<string, Json> {
  const responses: Record<string, Json & { content: Json }> = {};
  for (const { status, description, contentType, schema } of operation.answers) {
    const before = responses[status];
    responses[status] = {
      description: before ? `${String(before['description'])} ${description}` : description,
      content: {
        ...before?.content,
        ...(contentType === null ? {} : { [contentType]: describeMedia(schema, registry, options) }),
      },
    };
  }
  const byStatus = new Map<number, ErrorCode[]>();
  for (const code of errorsOf(operation))
    for (const status of statusesOf(code, operation, options))
      byStatus.set(status, [...(byStatus.get(status) ?? []), code]);
  for (const [status, codes] of [...byStatus].sort(([status], [otherStatus]) => status - otherStatus)) {
    const problem = describeProblem(codes, options, status);
    const before = responses[status];
    const content = { ...before?.content, ...(problem['content'] as Json) };
    responses[status] = {
      ...problem,
      ...(before
        ? { description: `${String(before['description'])} Or: ${String(problem['description'])}` }
        : {}),
      content,
    };
  }
  return responses;
}

function statusesOf(code: ErrorCode, { method, params }: Operation, { problem }: OpenApiOptions): number[] {
  const { status } = problem(code);
  if (code !== 'request_too_large') return [status];
  // Without path parameters and without a body, only the headers can be too long.
  return method === 'GET' && !params ? [HEADERS_TOO_LONG] : [status, HEADERS_TOO_LONG];
}

function describeMedia(schema: TSchema | null, registry: SchemaRegistry, options: OpenApiOptions): Json {
  return schema === null ? {} : { schema: registry.add(schema.title ?? '', asPublished(schema, options)) };
}

const asPublished = (schema: TSchema, { strict = false }: OpenApiOptions): TSchema =>
  strict ? schema : openForAdditions(schema);

export function errorsOf(operation: Operation): ErrorCode[] {
  const { method, errors, open, always } = operation;
  const codes = [
    ...COMMON_ERRORS.filter(
      (code) => !(open && ACCESS_ERRORS.has(code)) && !(always && OVERLOAD_ERRORS.has(code)),
    ),
    ...(method === 'GET' ? [] : WRITE_ERRORS),
    ...errors,
  ];
  return [...new Set(codes)];
}

const HEADERS: Readonly<Record<number, Json>> = {
  401: { 'WWW-Authenticate': { schema: { type: 'string' } } },
  405: { Allow: { schema: { type: 'string' }, description: 'The allowed methods.' } },
  429: { 'Retry-After': { schema: { type: 'string' }, description: 'Seconds.' } },
  503: { 'Retry-After': { schema: { type: 'string' }, description: 'Seconds.' } },
};

function describeProblem(codes: readonly ErrorCode[], options: OpenApiOptions, status: number): Json {
  const titles = [...new Set(codes.map((code) => options.problem(code).title))];
  return {
    description: `${titles.join('; ')}.\n\n${codes.map((code) => `- \`${code}\`: ${ERROR_CODES[code].hint}`).join('\n')}`,
    ...(HEADERS[status] ? { headers: HEADERS[status] } : {}),
    content: {
      'application/problem+json': {
        schema: {
          allOf: [
            { $ref: '#/components/schemas/Problem' },
            {
              properties: { status: { const: status }, code: asPublished(Codes([...codes].sort()), options) },
            },
          ],
        },
      },
    },
  };
}
