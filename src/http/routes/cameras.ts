import { Type, type Static } from '@sinclair/typebox';
import { Id } from '../../config/schema.ts';
import { AgentError } from '../../errors.ts';
import { deadline } from '../../retry.ts';
import { clientGone } from '../client-gone.ts';
import type { Routes } from '../types.ts';

const closed = { additionalProperties: false } as const;
export const CameraParams = Type.Object({ id: Id }, closed);
export type CameraParams = Static<typeof CameraParams>;

/** `?annotate` alone is a yes. */
const Flag = Type.Unsafe<'' | '1' | 'true' | '0' | 'false'>({
  type: 'string',
  enum: ['', '1', 'true', '0', 'false'],
});
const ImageQuery = Type.Object(
  {
    annotate: Type.Optional(Flag),
    max_width_px: Type.Integer({ minimum: 16, maximum: 4096, default: 1280 }),
  },
  closed,
);

const CAPTURE_DEADLINE_MS = 300_000;
const IMAGE_DEADLINE_MS = 30_000;

export const cameraRoutes: Routes = (app, { api }) => {
  app.get('/api/v1/cameras', () => ({ cameras: api.cameras() }));

  app.get<{ Params: CameraParams; Querystring: Static<typeof ImageQuery> }>(
    '/api/v1/cameras/:id/latest.jpg',
    { schema: { params: CameraParams, querystring: ImageQuery } },
    async ({ params, query }, reply) => {
      const annotate = query.annotate !== undefined && !['0', 'false'].includes(query.annotate);
      const signal = deadline(IMAGE_DEADLINE_MS, clientGone(reply));
      const jpeg = await api.latestImage(params.id, { annotate, maxWidthPx: query.max_width_px }, signal);
      if (jpeg === null) throw new AgentError('camera_no_frame', 'this camera has not given a frame yet');
      return reply.type('image/jpeg').header('cache-control', 'no-store').send(Buffer.from(jpeg));
    },
  );

  app.post<{ Params: CameraParams }>(
    '/api/v1/cameras/:id/capture',
    { schema: { params: CameraParams } },
    ({ params }, reply) => api.capture(params.id, deadline(CAPTURE_DEADLINE_MS, clientGone(reply))),
  );
};
