import { Type, type Static } from '@sinclair/typebox';
import { COMMAND_ARGS } from '../../contract/command.ts';
import type { AgentApi } from '../../contract/api.ts';
import { AgentError } from '../../errors.ts';
import type { Routes } from '../types.ts';
import { CameraParams } from './cameras.ts';

const LabelBody = COMMAND_ARGS.label;
const RemoveQuery = Type.Object(
  { observation_id: Type.String({ format: 'uuid' }) },
  { additionalProperties: false },
);
const CALIBRATION_LIMIT_BYTES = 16 * 1024 * 1024;

function known(api: AgentApi, camera: string): void {
  if (!api.cameras().some(({ id }) => id === camera))
    throw new AgentError('camera_unknown', `there is no camera ${camera}`, { context: { camera } });
}

/** People's readings of a camera, and the calibration that is learned from them. */
export const labelRoutes: Routes = (app, { api }) => {
  app.get<{ Params: CameraParams }>(
    '/api/v1/cameras/:id/labels',
    { schema: { params: CameraParams } },
    ({ params }) => {
      known(api, params.id);
      return { labels: api.labels(params.id) };
    },
  );
  app.post<{ Params: CameraParams; Body: Static<typeof LabelBody> }>(
    '/api/v1/cameras/:id/labels',
    { schema: { params: CameraParams, body: LabelBody } },
    async ({ params, body }, reply) => {
      known(api, params.id);
      const calibration = await api.addLabel(body, params.id);
      void reply.code(201);
      return { calibration };
    },
  );
  app.delete<{ Params: CameraParams; Querystring: Static<typeof RemoveQuery> }>(
    '/api/v1/cameras/:id/labels',
    { schema: { params: CameraParams, querystring: RemoveQuery } },
    async ({ params, query }) => {
      known(api, params.id);
      return { calibration: await api.removeLabel(params.id, query.observation_id) };
    },
  );
  app.get<{ Params: CameraParams }>(
    '/api/v1/cameras/:id/calibration',
    { schema: { params: CameraParams } },
    ({ params }) => {
      known(api, params.id);
      return api.exportCalibration(params.id);
    },
  );
  app.put<{ Params: CameraParams; Body: unknown }>(
    '/api/v1/cameras/:id/calibration',
    { schema: { params: CameraParams }, bodyLimit: CALIBRATION_LIMIT_BYTES },
    async ({ params, body }) => {
      known(api, params.id);
      return { calibration: await api.importCalibration(params.id, body) };
    },
  );
};
