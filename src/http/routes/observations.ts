import { Readable } from 'node:stream';
import { setImmediate as nextTurn } from 'node:timers/promises';
import type { AgentApi } from '../../contract/api.ts';
import { HISTORY_OPERATIONS } from '../../contract/openapi/history-operations.ts';
import { AgentError } from '../../base/errors.ts';
import { csvHeader, csvRow } from '../csv.ts';
import { answer } from '../route.ts';
import type { Routes } from '../types.ts';

/** Rows of a table that are read at a time: some milliseconds. */
const CSV_PAGE = 200;

type Query = Parameters<AgentApi['observations']>[0];

/** History, newest first; `cursor` of one answer asks for the page after it. */
export const observationRoutes: Routes = (app, { api }) => {
  const { observations, observationsCsv } = HISTORY_OPERATIONS;
  answer(app, observations, ({ query }) => api.observations(withTimes(query)));
  answer(app, observationsCsv, ({ query }, reply) => {
    const { limit, ...filter } = withTimes(query);
    // Asked for before anything is sent, so that a store that cannot be read is told as such.
    const first = api.observations({ ...filter, limit: Math.min(CSV_PAGE, limit) });
    return reply
      .header('content-type', 'text/csv; charset=utf-8; header=present')
      .header('content-disposition', 'attachment; filename="observations.csv"')
      .header('cache-control', 'no-store')
      .send(Readable.from(table(first, filter, limit, api), { objectMode: false, highWaterMark: 1 }));
  });
};

/** Page after page, each when the one before has been taken. */
async function* table(
  first: ReturnType<AgentApi['observations']>,
  filter: Omit<Query, 'limit'>,
  limit: number,
  api: AgentApi,
): AsyncGenerator<string> {
  yield csvHeader();
  let page = first;
  for (let left = limit; ;) {
    if (page.observations.length > 0) yield page.observations.map(csvRow).join('');
    left -= page.observations.length;
    if (page.cursor === null || left <= 0) return;
    await nextTurn();
    page = api.observations({ ...filter, cursor: page.cursor, limit: Math.min(CSV_PAGE, left) });
  }
}

/** Throws `request_invalid` for times that cannot be, or are the wrong way round. */
function withTimes<Q extends { readonly from?: string; readonly to?: string }>(query: Q) {
  const { from, to, ...rest } = query;
  const fromMs = from === undefined ? undefined : Date.parse(from);
  const toMs = to === undefined ? undefined : Date.parse(to);
  // The format allows a leap second, which has no place in the count of milliseconds.
  if (Number.isNaN(fromMs) || Number.isNaN(toMs))
    throw new AgentError('request_invalid', 'from or to is no time');
  if (fromMs !== undefined && toMs !== undefined && fromMs > toMs)
    throw new AgentError('request_invalid', 'from is later than to');
  return {
    ...rest,
    ...(fromMs === undefined ? {} : { fromMs }),
    ...(toMs === undefined ? {} : { toMs }),
  };
}
