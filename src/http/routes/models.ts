import { Type, type Static } from '@sinclair/typebox';
import { COMMAND_ARGS } from '../../contract/command.ts';
import type { Routes } from '../types.ts';

/** As the command; without a source it is the repository. */
const InstallBody = Type.Composite(
  [
    Type.Omit(COMMAND_ARGS['model.install'], ['source']),
    Type.Object({ source: Type.Optional(COMMAND_ARGS['model.install'].properties.source) }),
  ],
  { additionalProperties: false },
);

/** Beyond this a device that builds for an accelerator has given up too. */
const CHANGE_WITHIN_MS = 900_000;

/** Which model runs, and what changes that. */
export const modelRoutes: Routes = (app, { api }) => {
  app.get('/api/v1/models/info', () => api.listModels());
  // Answered when the request is stored: how it goes on stands in `/api/v1/models/info`.
  app.post<{ Body: Static<typeof InstallBody> }>(
    '/api/v1/models/install',
    { schema: { body: InstallBody } },
    ({ body }, reply) => {
      const { source = { kind: 'repository' } } = body;
      const { install, serves } = api.installModel({ ...body, source });
      serves.catch(() => undefined);
      void reply.code(202);
      return { install };
    },
  );
  app.post('/api/v1/models/abort', () => api.abortInstall());
  // Not given up when the one who asked goes away: a change of the model is made whole.
  app.post('/api/v1/models/rollback', () => api.rollbackModel(AbortSignal.timeout(CHANGE_WITHIN_MS)));
  app.post('/api/v1/models/reload', () => api.reloadModel(AbortSignal.timeout(CHANGE_WITHIN_MS)));
};
