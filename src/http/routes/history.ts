import { Readable } from 'node:stream';
import { setImmediate as nextTurn } from 'node:timers/promises';
import type { AgentApi } from '../../contract/api.ts';
import { HISTORY_OPERATIONS } from '../../contract/openapi/history-operations.ts';
import { AgentError } from '../../base/errors.ts';
import { csvHeader, csvRow } from '../csv.ts';
import { addRoute, takeOverResponse, type Routes } from '../route.ts';

/** Rows of the table that one synchronous query reads; it takes some milliseconds. */
const CSV_PAGE_ROWS = 200;

type Query = Parameters<AgentApi['observations']>[0];

/** Stored observations as JSON and as CSV, the outbox, and the stream of events. */
export const historyRoutes: Routes = (app, { api, feed, metrics, stopping }) => {
  const { observations, observationsCsv, outbox, events } = HISTORY_OPERATIONS;
  addRoute(app, observations, ({ query }) => api.observations(parseTimes(query)));
  addRoute(app, observationsCsv, ({ query }, reply) => {
    const { limit, ...filter } = parseTimes(query);
    // Read the first page before the response begins: a failure of the store can still become a problem document.
    const firstPage = api.observations({ ...filter, limit: Math.min(CSV_PAGE_ROWS, limit) });
    return reply
      .header('content-type', 'text/csv; charset=utf-8; header=present')
      .header('content-disposition', 'attachment; filename="observations.csv"')
      .header('cache-control', 'no-store')
      .send(Readable.from(csvChunks(firstPage, filter, limit, api), { objectMode: false, highWaterMark: 1 }));
  });
  addRoute(app, outbox, () => api.outbox());

  if (!feed) return;
  stopping.addEventListener('abort', () => feed.end(), { once: true });
  addRoute(
    app,
    events,
    ({ request }, reply) => {
      const lastId = request.headers['last-event-id'];
      feed.follow(typeof lastId === 'string' && lastId !== '' ? lastId : null, () => {
        // Without this header nginx buffers the events.
        void reply.header('content-type', 'text/event-stream').header('x-accel-buffering', 'no');
        const response = takeOverResponse(reply);
        const countEnd = metrics?.countStream();
        if (countEnd) response.once('close', countEnd);
        return response.writeHead(200);
      });
      return reply;
    },
    { exposeHeadRoute: false },
  );
};

/** Reads each page only after the client has taken the previous one. */
async function* csvChunks(
  firstPage: ReturnType<AgentApi['observations']>,
  filter: Omit<Query, 'limit'>,
  limit: number,
  api: AgentApi,
): AsyncGenerator<string> {
  yield csvHeader();
  let page = firstPage;
  for (let remaining = limit; ;) {
    if (page.observations.length > 0) yield page.observations.map(csvRow).join('');
    remaining -= page.observations.length;
    if (page.cursor === null || remaining <= 0) return;
    await nextTurn();
    page = api.observations({ ...filter, cursor: page.cursor, limit: Math.min(CSV_PAGE_ROWS, remaining) });
  }
}

/** Converts `from` and `to` to milliseconds. Throws `request_invalid` for impossible times and for a reversed range. */
function parseTimes<Q extends { readonly from?: string; readonly to?: string }>(query: Q) {
  const { from, to, ...rest } = query;
  const fromMs = from === undefined ? undefined : Date.parse(from);
  const toMs = to === undefined ? undefined : Date.parse(to);
  // The format allows a leap second, which Date cannot represent.
  if (Number.isNaN(fromMs) || Number.isNaN(toMs))
    throw new AgentError('request_invalid', 'from or to is not a valid time');
  if (fromMs !== undefined && toMs !== undefined && fromMs > toMs)
    throw new AgentError('request_invalid', 'from is later than to');
  return {
    ...rest,
    ...(fromMs === undefined ? {} : { fromMs }),
    ...(toMs === undefined ? {} : { toMs }),
  };
}
