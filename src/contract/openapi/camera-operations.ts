import { Type } from '@sinclair/typebox';
import { CalibrationDocument } from '../calibration.ts';
import { COMMAND_ARGS } from '../command.ts';
import { closed } from '../schema-parts.ts';
import { CAMERA_FAILURES, CapturedObservation } from '../observation.ts';
import {
  CameraParams,
  Flag,
  jsonAnswer,
  mediaAnswer,
  STORE_READ_ERRORS,
  STORE_WRITE_ERRORS,
  VISION_ERRORS,
  operations,
} from './operation.ts';
import { Calibrated, CameraList, LabelList } from './views.ts';

const ImageQuery = Type.Object(
  {
    annotate: Type.Optional({
      ...Flag,
      description: 'draw the region and the newest reading into the image',
    }),
    max_width_px: Type.Integer({ minimum: 16, maximum: 4096, default: 1280 }),
  },
  closed,
);
/** A document with other properties is refused. */
const CalibrationImport = {
  ...CalibrationDocument,
  title: 'CalibrationImport',
} as typeof CalibrationDocument;
const LabelBody = { ...COMMAND_ARGS.label, title: 'LabelRequest' } as typeof COMMAND_ARGS.label;
const RemoveQuery = Type.Object({ observation_id: Type.String({ format: 'uuid' }) }, closed);

export const CAMERA_OPERATIONS = {
  ...operations('cameras', {
    cameras: {
      method: 'GET',
      path: '/api/v1/cameras',
      summary: 'Returns all cameras with state, newest record and calibration.',
      answers: [jsonAnswer(200, 'The cameras, in the order of the configuration.', CameraList)],
      errors: STORE_READ_ERRORS,
    },
    latestImage: {
      method: 'GET',
      path: '/api/v1/cameras/{id}/latest.jpg',
      summary: 'Returns the newest frame as a JPEG, with privacy masks.',
      description:
        'The header `swellsight-observation` is the id of the observation of this frame: not the newest one when that has no frame. ' +
        'Label this one after you have read the image.',
      params: CameraParams,
      query: ImageQuery,
      answers: [mediaAnswer(200, 'The JPEG.', 'image/jpeg')],
      errors: [
        'camera_unknown',
        ...CAMERA_FAILURES,
        'image_corrupt',
        'image_unsupported',
        'image_too_large',
        ...VISION_ERRORS,
      ],
    },
    capture: {
      method: 'POST',
      path: '/api/v1/cameras/{id}/capture',
      summary: 'Makes one observation now, in addition to the schedule.',
      description:
        'When the camera or the model fails, the request still succeeds, and the record states the failure. ' +
        'Observations of the schedule go first. A few requests of a camera wait; further ones get 503 with Retry-After.',
      params: CameraParams,
      answers: [jsonAnswer(200, 'The record, with any status.', CapturedObservation)],
      errors: ['camera_unknown', 'capture_busy', 'vision_closed', 'command_timeout', ...STORE_WRITE_ERRORS],
    },
  }),
  ...operations('calibration', {
    labels: {
      method: 'GET',
      path: '/api/v1/cameras/{id}/labels',
      summary: 'Returns the labels of a camera.',
      params: CameraParams,
      answers: [jsonAnswer(200, 'All labels.', LabelList)],
      errors: ['camera_unknown', ...STORE_READ_ERRORS],
    },
    addLabel: {
      method: 'POST',
      path: '/api/v1/cameras/{id}/labels',
      summary: 'Adds a label to an observation. It replaces the previous label of the observation.',
      params: CameraParams,
      body: { contentType: 'application/json', schema: LabelBody },
      answers: [jsonAnswer(201, 'The label is stored, and the calibration is updated.', Calibrated)],
      errors: [
        'camera_unknown',
        'observation_unknown',
        'label_refused',
        'calibration_invalid',
        ...STORE_WRITE_ERRORS,
      ],
    },
    removeLabel: {
      method: 'DELETE',
      path: '/api/v1/cameras/{id}/labels',
      summary: 'Removes a label.',
      params: CameraParams,
      query: RemoveQuery,
      answers: [jsonAnswer(200, 'The label is removed, and the calibration is updated.', Calibrated)],
      errors: ['camera_unknown', 'observation_unknown', 'calibration_invalid', ...STORE_WRITE_ERRORS],
    },
    calibration: {
      method: 'GET',
      path: '/api/v1/cameras/{id}/calibration',
      summary: 'Exports the site calibration as a document that another device can import.',
      params: CameraParams,
      answers: [jsonAnswer(200, 'Labels, embeddings, view and errors.', CalibrationDocument)],
      errors: ['camera_unknown', 'calibration_invalid', ...STORE_READ_ERRORS],
    },
    importCalibration: {
      method: 'PUT',
      path: '/api/v1/cameras/{id}/calibration',
      summary: 'Imports a calibration of this camera from another device.',
      params: CameraParams,
      body: { contentType: 'application/json', schema: CalibrationImport, checkedByOperation: true },
      answers: [jsonAnswer(200, 'The imported calibration is in use.', Calibrated)],
      errors: ['camera_unknown', 'calibration_invalid', ...STORE_WRITE_ERRORS],
    },
  }),
};
