import type { Static, TSchema } from '@sinclair/typebox';
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify';
import type { Operation } from '../contract/openapi/operation.ts';

type DeepReadonly<T> = T extends readonly (infer E)[]
  ? readonly DeepReadonly<E>[]
  : T extends object
    ? { readonly [K in keyof T]: DeepReadonly<T[K]> }
    : T;
type StaticOf<S> = S extends TSchema ? Static<S> : undefined;
type Part<O extends Operation, K extends keyof Operation> =
  O extends Readonly<Record<K, infer S>> ? StaticOf<S> : undefined;

/** A request as its operation describes it. */
export interface Asked<O extends Operation> {
  readonly params: Part<O, 'params'>;
  readonly query: Part<O, 'query'>;
  /** Unknown where the operation itself looks at it. */
  readonly body: O extends { readonly body: { readonly schema: infer S } }
    ? O extends { readonly body: { readonly checkedByOperation: true } }
      ? unknown
      : StaticOf<S>
    : undefined;
  readonly request: FastifyRequest;
}

/** What the operation says that it answers; a handler may also send by itself. */
type Given<O extends Operation> = O['answers'][number] extends infer A
  ? A extends { readonly schema: infer S extends TSchema }
    ? DeepReadonly<Static<S>>
    : never
  : never;

type Handler<O extends Operation> = (
  asked: Asked<O>,
  reply: FastifyReply,
) => Given<O> | FastifyReply | Promise<Given<O> | FastifyReply>;

/** Adds an operation of the contract: its path, and what is checked of a request, stand in its table. */
export function answer<O extends Operation>(
  app: FastifyInstance,
  operation: O,
  handler: Handler<O>,
  options: { readonly bodyLimit?: number; readonly exposeHeadRoute?: boolean } = {},
): void {
  const { answers } = operation;
  const usual = answers[0]?.status ?? 200;
  app.route({
    ...options,
    method: operation.method,
    url: routePath(operation),
    schema: requestSchema(operation),
    handler: (request, reply) => {
      void reply.code(usual);
      const { params, query, body } = request;
      // Checked by the very schemas that the types are made of.
      return handler({ params, query, body, request } as Asked<O>, reply);
    },
  });
}

/** `/cameras/{id}` -> `/cameras/:id`. */
export const routePath = ({ path }: Operation): string => path.replaceAll(/\{(\w+)\}/g, ':$1');

/** What the server checks of a request. */
export function requestSchema({ params, query, headers, body }: Operation) {
  return {
    ...(params ? { params } : {}),
    ...(query ? { querystring: query } : {}),
    ...(headers ? { headers } : {}),
    ...(body && !body.checkedByOperation ? { body: body.schema } : {}),
  };
}
