import { SEA_STATE_OPERATIONS } from '../../contract/openapi/sea-state-operations.ts';
import type { SeaStatePicture } from '../../contract/sea-state.ts';
import { SEA_STATE_TABLE } from '../csv.ts';
import { addRoute, withTimeout, type Routes } from '../route.ts';
import { parseTimes, sendTable } from './history.ts';

/** The longest clip, and the clip that may run before it. */
const MEASURE_TIMEOUT_MS = 4_500_000;

/** The sea states of a camera: history, pictures, and a clip on request. */
export const seaStateRoutes: Routes = (app, { api }) => {
  const { seaStates, seaStatesCsv, measureSeaState, seaStateTimestack, seaStateSpectrum } =
    SEA_STATE_OPERATIONS;
  addRoute(app, seaStates, ({ params, query }) => api.seaStates({ camera: params.id, ...parseTimes(query) }));
  addRoute(app, seaStatesCsv, ({ params, query }, reply) =>
    sendTable(reply, 'sea-state.csv', parseTimes(query), SEA_STATE_TABLE, (page) => {
      const { sea_states: records, cursor } = api.seaStates({ camera: params.id, ...page });
      return { records, cursor };
    }),
  );
  addRoute(app, measureSeaState, ({ params, query: { durationS = null } }, reply) =>
    withTimeout(
      MEASURE_TIMEOUT_MS,
      reply,
      (signal) => api.measureSeaState(params.id, durationS, signal),
      'command_timeout',
    ),
  );
  const pictures = { timestack: seaStateTimestack, spectrum: seaStateSpectrum } as const;
  for (const [picture, operation] of Object.entries(pictures) as [SeaStatePicture, typeof seaStateSpectrum][])
    addRoute(app, operation, async ({ params }, reply) => {
      const png = await api.seaStatePicture(params.id, params.record, picture);
      return reply.type('image/png').header('cache-control', 'no-store').send(Buffer.from(png));
    });
};
