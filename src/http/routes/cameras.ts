import type { CalibrationDocument } from '../../contract/calibration.ts';
import { CAMERA_OPERATIONS } from '../../contract/openapi/camera-operations.ts';
import { isSet } from '../../contract/openapi/operation.ts';
import { AgentError } from '../../base/errors.ts';
import { addRoute, withTimeout, type Routes } from '../route.ts';

const CAPTURE_TIMEOUT_MS = 300_000;
const IMAGE_TIMEOUT_MS = 30_000;
/** To which observation an image belongs: a label must not go to another one. */
const OBSERVATION_HEADER = 'swellsight-observation';
const MAX_CALIBRATION_BYTES = 16 * 1024 * 1024;

/** Cameras, their newest frames and captures. */
export const cameraRoutes: Routes = (app, { api }) => {
  const { cameras, latestImage, capture } = CAMERA_OPERATIONS;
  addRoute(app, cameras, () => ({ cameras: api.cameras() }));

  addRoute(app, latestImage, async ({ params, query }, reply) => {
    const options = { annotate: isSet(query.annotate), maxWidthPx: query.max_width_px };
    const image = await withTimeout(IMAGE_TIMEOUT_MS, reply, (signal) =>
      api.latestImage(params.id, options, signal),
    );
    if (image === null) throw new AgentError('camera_no_frame', 'this camera has not delivered a frame yet');
    if (image.observationId !== null) void reply.header(OBSERVATION_HEADER, image.observationId);
    return reply.type('image/jpeg').header('cache-control', 'no-store').send(Buffer.from(image.jpeg));
  });

  addRoute(app, capture, ({ params }, reply) =>
    withTimeout(CAPTURE_TIMEOUT_MS, reply, (signal) => api.capture(params.id, signal), 'command_timeout'),
  );
};

/** Labels of a camera, and the calibration that is computed from them. */
export const labelRoutes: Routes = (app, { api }) => {
  const { labels, addLabel, removeLabel, calibration, importCalibration } = CAMERA_OPERATIONS;
  addRoute(app, labels, ({ params }) => ({ labels: api.labels(params.id) }));
  addRoute(app, addLabel, async ({ params, body }) => ({ calibration: await api.addLabel(body, params.id) }));
  addRoute(app, removeLabel, async ({ params, query }) => ({
    calibration: await api.removeLabel(params.id, query.observation_id),
  }));
  addRoute(
    app,
    calibration,
    ({ params }) => api.exportCalibration(params.id) as Promise<CalibrationDocument>,
  );
  addRoute(
    app,
    importCalibration,
    async ({ params, body }) => ({ calibration: await api.importCalibration(params.id, body) }),
    { bodyLimit: MAX_CALIBRATION_BYTES },
  );
};
