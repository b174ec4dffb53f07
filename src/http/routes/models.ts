import { MODEL_OPERATIONS } from '../../contract/openapi/model-operations.ts';
import { addRoute, type Routes } from '../route.ts';

/** Longer than the slowest start of a model, on a device that compiles it for an accelerator. */
const CHANGE_TIMEOUT_MS = 900_000;

/** The state of the models, and requests that change it. */
export const modelRoutes: Routes = (app, { api }) => {
  const { modelInfo, modelInstall, modelAbort, modelRollback, modelReload } = MODEL_OPERATIONS;
  addRoute(app, modelInfo, () => api.listModels());
  // The response is sent when the install is stored; `/api/v1/models/info` reports its progress and its result.
  addRoute(app, modelInstall, ({ body }) => {
    const { source = { kind: 'repository' } } = body;
    const { install, serves } = api.installModel({ ...body, source });
    serves.catch(() => undefined);
    return { install };
  });
  addRoute(app, modelAbort, () => api.abortInstall());
  // A disconnect of the client does not cancel these: a change of the model must not end half done.
  addRoute(app, modelRollback, () => api.rollbackModel(AbortSignal.timeout(CHANGE_TIMEOUT_MS)));
  addRoute(app, modelReload, () => api.reloadModel(AbortSignal.timeout(CHANGE_TIMEOUT_MS)));
};
