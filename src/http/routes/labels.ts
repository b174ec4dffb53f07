import type { AgentApi } from '../../contract/api.ts';
import type { CalibrationDocument } from '../../contract/calibration.ts';
import { CAMERA_OPERATIONS } from '../../contract/openapi/camera-operations.ts';
import { AgentError } from '../../base/errors.ts';
import { answer } from '../route.ts';
import type { Routes } from '../types.ts';

const CALIBRATION_LIMIT_BYTES = 16 * 1024 * 1024;

function known(api: AgentApi, camera: string): void {
  if (!api.cameras().some(({ id }) => id === camera))
    throw new AgentError('camera_unknown', `there is no camera ${camera}`, { context: { camera } });
}

/** People's readings of a camera, and the calibration that is learned from them. */
export const labelRoutes: Routes = (app, { api }) => {
  const { labels, addLabel, removeLabel, calibration, importCalibration } = CAMERA_OPERATIONS;
  answer(app, labels, ({ params }) => {
    known(api, params.id);
    return { labels: api.labels(params.id) };
  });
  answer(app, addLabel, async ({ params, body }) => {
    known(api, params.id);
    return { calibration: await api.addLabel(body, params.id) };
  });
  answer(app, removeLabel, async ({ params, query }) => {
    known(api, params.id);
    return { calibration: await api.removeLabel(params.id, query.observation_id) };
  });
  answer(app, calibration, ({ params }) => {
    known(api, params.id);
    return api.exportCalibration(params.id) as Promise<CalibrationDocument>;
  });
  answer(
    app,
    importCalibration,
    async ({ params, body }) => {
      known(api, params.id);
      return { calibration: await api.importCalibration(params.id, body) };
    },
    { bodyLimit: CALIBRATION_LIMIT_BYTES },
  );
};
