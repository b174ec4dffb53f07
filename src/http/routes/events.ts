import { HISTORY_OPERATIONS } from '../../contract/openapi/history-operations.ts';
import { answer } from '../route.ts';
import { takeOver } from '../take-over.ts';
import type { Routes } from '../types.ts';

/** `GET /api/v1/events`: server-sent events. */
export const eventRoutes: Routes = (app, { feed, metrics, stopping }) => {
  if (!feed) return;
  stopping.addEventListener('abort', () => feed.end(), { once: true });
  answer(
    app,
    HISTORY_OPERATIONS.events,
    ({ request }, reply) => {
      const lastId = request.headers['last-event-id'];
      feed.follow(typeof lastId === 'string' && lastId !== '' ? lastId : null, () => {
        // A proxy in front would hold events back.
        void reply.header('content-type', 'text/event-stream').header('x-accel-buffering', 'no');
        const response = takeOver(reply);
        const ended = metrics?.listening();
        if (ended) response.once('close', ended);
        return response.writeHead(200);
      });
      return reply;
    },
    { exposeHeadRoute: false },
  );
};
