import type { FastifyReply } from 'fastify';
import { CAMERA_OPERATIONS } from '../../contract/openapi/camera-operations.ts';
import { isSet } from '../../contract/openapi/operation.ts';
import { AgentError } from '../../base/errors.ts';
import { deadlineSignal } from '../../base/deadline.ts';
import { clientGone } from '../client-gone.ts';
import { answer } from '../route.ts';
import type { Routes } from '../types.ts';

const CAPTURE_DEADLINE_MS = 300_000;
const IMAGE_DEADLINE_MS = 30_000;

export const cameraRoutes: Routes = (app, { api }) => {
  const { cameras, latestImage, capture } = CAMERA_OPERATIONS;
  answer(app, cameras, () => ({ cameras: api.cameras() }));

  answer(app, latestImage, async ({ params, query }, reply) => {
    const options = { annotate: isSet(query.annotate), maxWidthPx: query.max_width_px };
    const jpeg = await inTime(IMAGE_DEADLINE_MS, reply, (signal) =>
      api.latestImage(params.id, options, signal),
    );
    if (jpeg === null) throw new AgentError('camera_no_frame', 'this camera has not given a frame yet');
    return reply.type('image/jpeg').header('cache-control', 'no-store').send(Buffer.from(jpeg));
  });

  answer(app, capture, ({ params }, reply) =>
    inTime(CAPTURE_DEADLINE_MS, reply, (signal) => api.capture(params.id, signal)),
  );
};

/** Gives the work up when the client goes away, or after a time: `vision_timeout`. */
async function inTime<T>(
  ms: number,
  reply: FastifyReply,
  work: (signal: AbortSignal) => Promise<T>,
): Promise<T> {
  try {
    return await work(deadlineSignal(ms, clientGone(reply)));
  } catch (thrown) {
    if (thrown instanceof DOMException && thrown.name === 'TimeoutError')
      throw new AgentError('vision_timeout', 'it took too long and was given up', { cause: thrown });
    throw thrown;
  }
}
