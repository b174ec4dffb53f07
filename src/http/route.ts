import { isDeepStrictEqual } from 'node:util';
import type { Static, TSchema } from '@sinclair/typebox';
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify';
import { deadlineSignal } from '../base/deadline.ts';
import { AgentError, type ErrorCode } from '../base/errors.ts';
import type { AgentApi } from '../contract/api.ts';
import type { Operation } from '../contract/openapi/operation.ts';
import type { Feed } from './feed.ts';

/** The metrics of the agent, as the server uses them. */
export interface RequestMetrics {
  readonly contentType: string;
  /** All metrics, in the text format of Prometheus. */
  text(): Promise<string>;
  /** `route` is the pattern of the path; null for an unknown path. */
  countRequest(method: string, route: string | null, status: number, durationMs: number): void;
  countProblem(code: string): void;
  /** Counts a stream of server-sent events until the returned function is called. */
  countStream(): () => void;
}

export interface RouteDeps {
  readonly api: AgentApi;
  readonly version: string;
  readonly metrics?: RequestMetrics;
  /** The events of `/api/v1/events`. */
  readonly feed?: Feed;
  /** Fires when the server stops: responses without an end have to end. */
  readonly stopping: AbortSignal;
}

/** Adds the routes of one subject. */
export type Routes = (app: FastifyInstance, deps: RouteDeps) => void;

type DeepReadonly<T> = T extends readonly (infer E)[]
  ? readonly DeepReadonly<E>[]
  : T extends object
    ? { readonly [K in keyof T]: DeepReadonly<T[K]> }
    : T;
type StaticOf<S> = S extends TSchema ? Static<S> : undefined;
type Part<O extends Operation, K extends keyof Operation> =
  O extends Readonly<Record<K, infer S>> ? StaticOf<S> : undefined;

/** A request with the types that its operation declares. */
export interface TypedRequest<O extends Operation> {
  readonly params: Part<O, 'params'>;
  readonly query: Part<O, 'query'>;
  /** `unknown` when the operation validates the body itself. */
  readonly body: O extends { readonly body: { readonly schema: infer S } }
    ? O extends { readonly body: { readonly checkedByOperation: true } }
      ? unknown
      : StaticOf<S>
    : undefined;
  readonly request: FastifyRequest;
}

/** The response body that the operation declares. A handler may also send the response itself. */
type ResponseBody<O extends Operation> = O['answers'][number] extends infer A
  ? A extends { readonly schema: infer S extends TSchema }
    ? DeepReadonly<Static<S>>
    : never
  : never;

type Handler<O extends Operation> = (
  request: TypedRequest<O>,
  reply: FastifyReply,
) => ResponseBody<O> | FastifyReply | Promise<ResponseBody<O> | FastifyReply>;

/** Adds the route of an operation: its path, and its schemas, which validate the request. */
export function addRoute<O extends Operation>(
  app: FastifyInstance,
  operation: O,
  handler: Handler<O>,
  options: { readonly bodyLimit?: number; readonly exposeHeadRoute?: boolean } = {},
): void {
  const usualStatus = operation.answers[0]?.status ?? 200;
  const { params, query, headers, body } = operation;
  app.route({
    ...options,
    method: operation.method,
    url: routePath(operation),
    schema: {
      ...(params ? { params } : {}),
      ...(query ? { querystring: query } : {}),
      ...(headers ? { headers } : {}),
      ...(body && !body.checkedByOperation ? { body: body.schema } : {}),
    },
    handler: (request, reply) => {
      if (!body) refuseBody(request.body, operation);
      void reply.code(usualStatus);
      const typed = { params: request.params, query: request.query, body: request.body, request };
      // The schemas above, which give the types, have validated the request.
      return handler(typed as TypedRequest<O>, reply);
    },
  });
}

/** What an operation would ignore is refused: it may do more than the client wants. An empty object is no content. */
function refuseBody(body: unknown, { query }: Operation): void {
  if (body === undefined || body === null || isDeepStrictEqual(body, {})) return;
  const names = Object.keys(query?.properties ?? {}).join(', ');
  const place = names === '' ? '' : `: write ${names} in the query of the address`;
  throw new AgentError('request_invalid', `the request must have no body${place}`);
}

/** True for a browser that opens an address: only browsers list text/html. */
export const acceptsPage = ({ headers }: FastifyRequest): boolean =>
  /\btext\/html\b/i.test(headers.accept ?? '');

/** `/cameras/{id}` -> `/cameras/:id`. */
export const routePath = ({ path }: Operation): string => path.replaceAll(/\{(\w+)\}/g, ':$1');

/** Fires when the client disconnects before its response is complete. */
export function disconnectSignal(reply: FastifyReply): AbortSignal {
  const disconnected = new AbortController();
  reply.raw.once('close', () => {
    if (!reply.raw.writableFinished) disconnected.abort();
  });
  return disconnected.signal;
}

/** Cancels the work when the client disconnects, or after a time. Throws `code`, unless the work knows a cause. */
export async function withTimeout<T>(
  timeoutMs: number,
  reply: FastifyReply,
  work: (signal: AbortSignal) => Promise<T>,
  code: ErrorCode = 'vision_timeout',
): Promise<T> {
  const disconnected = disconnectSignal(reply);
  const either = deadlineSignal(timeoutMs, disconnected);
  try {
    return await work(either);
  } catch (thrown) {
    if (thrown instanceof AgentError || !either.aborted || disconnected.aborted) throw thrown;
    throw new AgentError(code, 'the request took too long and was cancelled', { cause: thrown });
  }
}

/** Returns the raw response, which the route writes from now on. It has the headers that the hooks have set. */
export function takeOverResponse(reply: FastifyReply): FastifyReply['raw'] {
  reply.hijack();
  for (const [name, value] of Object.entries(reply.getHeaders()))
    if (value !== undefined) reply.raw.setHeader(name, value);
  return reply.raw;
}
