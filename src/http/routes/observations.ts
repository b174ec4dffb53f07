import { Type, type Static } from '@sinclair/typebox';
import { Id } from '../../config/schema.ts';
import { AgentError } from '../../errors.ts';
import type { Routes } from '../types.ts';

const STATUSES = ['measured', 'rejected', 'failed', 'skipped'] as const;
const When = Type.String({ format: 'date-time' });
const ObservationsQuery = Type.Object(
  {
    camera: Type.Optional(Id),
    from: Type.Optional(When),
    to: Type.Optional(When),
    status: Type.Optional(Type.Unsafe<(typeof STATUSES)[number]>({ type: 'string', enum: [...STATUSES] })),
    limit: Type.Integer({ minimum: 1, maximum: 1000, default: 50 }),
    cursor: Type.Optional(Type.String({ minLength: 1, maxLength: 256 })),
  },
  { additionalProperties: false },
);

/** History, newest first; `cursor` of one answer asks for the page after it. */
export const observationRoutes: Routes = (app, { api }) => {
  app.get<{ Querystring: Static<typeof ObservationsQuery> }>(
    '/api/v1/observations',
    { schema: { querystring: ObservationsQuery } },
    ({ query }) => {
      const { from, to, ...rest } = query;
      const fromMs = from === undefined ? undefined : Date.parse(from);
      const toMs = to === undefined ? undefined : Date.parse(to);
      if (fromMs !== undefined && toMs !== undefined && fromMs > toMs)
        throw new AgentError('request_invalid', 'from is later than to');
      return api.observations({
        ...rest,
        ...(fromMs === undefined ? {} : { fromMs }),
        ...(toMs === undefined ? {} : { toMs }),
      });
    },
  );
};
