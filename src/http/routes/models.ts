import { MODEL_OPERATIONS } from '../../contract/openapi/model-operations.ts';
import { answer } from '../route.ts';
import type { Routes } from '../types.ts';

/** Beyond this a device that builds for an accelerator has given up too. */
const CHANGE_WITHIN_MS = 900_000;

/** Which model runs, and what changes that. */
export const modelRoutes: Routes = (app, { api }) => {
  const { modelInfo, modelInstall, modelAbort, modelRollback, modelReload } = MODEL_OPERATIONS;
  answer(app, modelInfo, () => api.listModels());
  // Answered when the request is stored: how it goes on stands in `/api/v1/models/info`.
  answer(app, modelInstall, ({ body }) => {
    const { source = { kind: 'repository' } } = body;
    const { install, serves } = api.installModel({ ...body, source });
    serves.catch(() => undefined);
    return { install };
  });
  answer(app, modelAbort, () => api.abortInstall());
  // Not given up when the one who asked goes away: a change of the model is made whole.
  answer(app, modelRollback, () => api.rollbackModel(AbortSignal.timeout(CHANGE_WITHIN_MS)));
  answer(app, modelReload, () => api.reloadModel(AbortSignal.timeout(CHANGE_WITHIN_MS)));
};
