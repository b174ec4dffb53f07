import { Readable } from 'node:stream';
import { setImmediate as nextTurn } from 'node:timers/promises';
import type { FastifyReply } from 'fastify';
import { HISTORY_OPERATIONS } from '../../contract/openapi/history-operations.ts';
import type { AgentApi } from '../../contract/api.ts';
import { AgentError } from '../../base/errors.ts';
import { csvHeader, csvRow, OBSERVATION_TABLE, type CsvTable } from '../csv.ts';
import { addRoute, disconnectSignal, takeOverResponse, withTimeout, type Routes } from '../route.ts';

/** Rows of the table that one synchronous query reads; it takes some milliseconds. */
const CSV_PAGE_ROWS = 200;
const IMAGE_TIMEOUT_MS = 30_000;
const IMAGE_MAX_AGE_S = 3600;

/** Stored observations as JSON and as CSV, charts, kept frames, the outbox, the log and the stream of events. */
export const historyRoutes: Routes = (app, { api, feed, metrics, stopping }) => {
  const { observations, observationsCsv, outbox, events } = HISTORY_OPERATIONS;
  addRoute(app, observations, ({ query }) => api.observations(parseTimes(query)));
  addRoute(app, observationsCsv, ({ query }, reply) =>
    sendTable(reply, 'observations.csv', parseTimes(query), OBSERVATION_TABLE, (page) => {
      const { observations: records, cursor } = api.observations(page);
      return { records, cursor };
    }),
  );
  addRoute(app, outbox, () => api.outbox());
  pastRoutes(app, api);

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

/** What pages show of the past: single records, charts, kept frames, events. */
function pastRoutes(app: Parameters<Routes>[0], api: AgentApi): void {
  const { observation, observationImage, series, frames, labelQueue, eventLog } = HISTORY_OPERATIONS;
  addRoute(app, observation, ({ params }) => api.observation(params.id));
  addRoute(app, observationImage, async ({ params, query }, reply) => {
    const jpeg = await withTimeout(IMAGE_TIMEOUT_MS, reply, (signal) =>
      api.observationImage(params.id, query.max_width_px ?? null, signal),
    );
    // A kept image never changes. After a change of the masks it is missing, also for a cache that asks again.
    return reply
      .type('image/jpeg')
      .header('cache-control', `private, max-age=${String(IMAGE_MAX_AGE_S)}`)
      .send(Buffer.from(jpeg));
  });
  addRoute(app, series, ({ params, query }, reply) =>
    api.series({ camera: params.id, ...parseTimes(query) }, disconnectSignal(reply)),
  );
  addRoute(app, frames, ({ params, query }) => api.frames({ camera: params.id, ...parseTimes(query) }));
  addRoute(app, labelQueue, ({ params, query }) => api.labelQueue(params.id, query.limit));
  addRoute(app, eventLog, ({ query }, reply) => api.eventLog(query, disconnectSignal(reply)));
}

interface TablePage<R> {
  readonly records: readonly R[];
  readonly cursor: string | null;
}
type ReadPage<R, F> = (page: F & { readonly limit: number; readonly cursor?: string }) => TablePage<R>;

/** Sends all records that match the filter as CSV, at most `limit`. */
export function sendTable<R, F>(
  reply: FastifyReply,
  name: string,
  { limit, ...filter }: F & { readonly limit: number },
  table: CsvTable<R>,
  read: ReadPage<R, Omit<F & { readonly limit: number }, 'limit'>>,
): FastifyReply {
  // Read the first page before the response begins: a failure of the store can still become a problem document.
  const firstPage = read({ ...filter, limit: Math.min(CSV_PAGE_ROWS, limit) });
  const chunks = csvChunks(firstPage, limit, table, (page) => read({ ...filter, ...page }));
  return reply
    .header('content-type', 'text/csv; charset=utf-8; header=present')
    .header('content-disposition', `attachment; filename="${name}"`)
    .header('cache-control', 'no-store')
    .send(Readable.from(chunks, { objectMode: false, highWaterMark: 1 }));
}

/** Reads each page only after the client has taken the previous one. */
async function* csvChunks<R>(
  firstPage: TablePage<R>,
  limit: number,
  table: CsvTable<R>,
  read: (page: { readonly limit: number; readonly cursor: string }) => TablePage<R>,
): AsyncGenerator<string> {
  yield csvHeader(table);
  let page = firstPage;
  for (let remaining = limit; ;) {
    if (page.records.length > 0) yield page.records.map((record) => csvRow(table, record)).join('');
    remaining -= page.records.length;
    if (page.cursor === null || remaining <= 0) return;
    await nextTurn();
    page = read({ cursor: page.cursor, limit: Math.min(CSV_PAGE_ROWS, remaining) });
  }
}

/** Converts `from` and `to` to milliseconds. Throws `request_invalid` for impossible times and for a reversed range. */
export function parseTimes<Q extends { readonly from?: string; readonly to?: string }>(query: Q) {
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
