import { Type } from '@sinclair/typebox';
import { CalibrationDocument } from '../calibration.ts';
import { COMMAND_ARGS } from '../command.ts';
import { closed } from '../schema-parts.ts';
import { Observation } from '../observation.ts';
import {
  CameraParams,
  Flag,
  json,
  other,
  STORE_READ,
  STORE_WRITE,
  VISION,
  type Operation,
} from './operation.ts';
import { Calibrated, CameraList, LabelList } from './views.ts';

const ImageQuery = Type.Object(
  {
    annotate: Type.Optional({ ...Flag, description: 'with the region and the newest reading drawn in' }),
    max_width_px: Type.Integer({ minimum: 16, maximum: 4096, default: 1280 }),
  },
  closed,
);
const LabelBody = { ...COMMAND_ARGS.label, title: 'LabelRequest' } as typeof COMMAND_ARGS.label;
const RemoveQuery = Type.Object({ observation_id: Type.String({ format: 'uuid' }) }, closed);

export const CAMERA_OPERATIONS = {
  cameras: {
    method: 'GET',
    path: '/api/v1/cameras',
    tag: 'cameras',
    summary: 'Every camera with its state, its newest record and its calibration.',
    answers: [json(200, 'In the order of the configuration.', CameraList)],
    errors: STORE_READ,
  },
  latestImage: {
    method: 'GET',
    path: '/api/v1/cameras/{id}/latest.jpg',
    tag: 'cameras',
    summary: 'The newest frame as a JPEG. Privacy masks are applied.',
    params: CameraParams,
    query: ImageQuery,
    answers: [other(200, 'The picture.', 'image/jpeg')],
    errors: [
      'camera_unknown',
      'camera_no_frame',
      'image_corrupt',
      'image_unsupported',
      'image_too_large',
      ...VISION,
    ],
  },
  capture: {
    method: 'POST',
    path: '/api/v1/cameras/{id}/capture',
    tag: 'cameras',
    summary: 'One observation now, beside the schedule.',
    description: 'A camera or model that fails is no failure of the request: the record says so.',
    params: CameraParams,
    answers: [json(200, 'The record, whatever its status.', Observation)],
    errors: ['camera_unknown', 'vision_closed', 'vision_timeout', ...STORE_WRITE],
  },
  labels: {
    method: 'GET',
    path: '/api/v1/cameras/{id}/labels',
    tag: 'calibration',
    summary: "People's readings of a camera.",
    params: CameraParams,
    answers: [json(200, 'All of them.', LabelList)],
    errors: ['camera_unknown', ...STORE_READ],
  },
  addLabel: {
    method: 'POST',
    path: '/api/v1/cameras/{id}/labels',
    tag: 'calibration',
    summary: "A person's reading of an observation; another one of the same replaces it.",
    params: CameraParams,
    body: { contentType: 'application/json', schema: LabelBody },
    answers: [json(201, 'It is stored, and was learned from.', Calibrated)],
    errors: ['camera_unknown', 'observation_unknown', 'label_refused', 'calibration_invalid', ...STORE_WRITE],
  },
  removeLabel: {
    method: 'DELETE',
    path: '/api/v1/cameras/{id}/labels',
    tag: 'calibration',
    summary: 'Takes a reading back.',
    params: CameraParams,
    query: RemoveQuery,
    answers: [json(200, 'It is gone.', Calibrated)],
    errors: ['camera_unknown', 'observation_unknown', 'calibration_invalid', ...STORE_WRITE],
  },
  calibration: {
    method: 'GET',
    path: '/api/v1/cameras/{id}/calibration',
    tag: 'calibration',
    summary: 'The site calibration with its errors, as a document that another device can take over.',
    params: CameraParams,
    answers: [json(200, 'Labels, embeddings, view, errors.', CalibrationDocument)],
    errors: ['camera_unknown', 'calibration_invalid', ...STORE_READ],
  },
  importCalibration: {
    method: 'PUT',
    path: '/api/v1/cameras/{id}/calibration',
    tag: 'calibration',
    summary: 'Takes over what people taught of this camera elsewhere.',
    params: CameraParams,
    body: { contentType: 'application/json', schema: CalibrationDocument, checkedByOperation: true },
    answers: [json(200, 'It is in force.', Calibrated)],
    errors: ['camera_unknown', 'calibration_invalid', ...STORE_WRITE],
  },
} as const satisfies Record<string, Operation>;
