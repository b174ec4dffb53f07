import { Type, type Static, type TSchema } from '@sinclair/typebox';
import { AnalysisResult, BatchResult } from '../analysis.ts';
import { closed } from '../schema-parts.ts';
import { CameraId, Flag, json, STORE_READ, VISION, type Operation } from './operation.ts';

const options = {
  camera: Type.Optional({ ...CameraId, description: 'whose region, masks and calibration are used' }),
  strict: Type.Optional({ ...Flag, description: 'an image that the quality gate rejects is an error, 422' }),
};
/** May also come as fields of the form, in front of the images. */
export const AnalyzeQuery = Type.Object(options, closed);
export type AnalyzeQuery = Static<typeof AnalyzeQuery>;

const Image: TSchema = Type.Unsafe({ type: 'string', format: 'binary', description: 'JPEG, PNG or WebP' });
const IMAGE_TYPES = 'image/jpeg, image/png, image/webp';

export const ANALYSIS_OPERATIONS = {
  analyze: {
    method: 'POST',
    path: '/api/v1/analyze',
    tag: 'analysis',
    summary: 'The wave in one image.',
    description:
      'The format is told by the bytes, not by the name. An image of which nothing can be said is `rejected`, with reasons and ' +
      'nulls, never 0.0.',
    query: AnalyzeQuery,
    body: {
      contentType: 'multipart/form-data',
      schema: Type.Object({ ...options, file: Image }, { ...closed, title: 'AnalyzeForm' }),
      fileTypes: IMAGE_TYPES,
      fileField: 'file',
      checkedByOperation: true,
    },
    answers: [json(200, 'What was seen.', AnalysisResult)],
    errors: [
      'camera_unknown',
      'image_empty',
      'image_corrupt',
      'image_unsupported',
      'image_too_large',
      'image_rejected',
      ...VISION,
      ...STORE_READ,
    ],
  },
  analyzeBatch: {
    method: 'POST',
    path: '/api/v1/analyze/batch',
    tag: 'analysis',
    summary: 'The waves in several images, in the order sent; one bad image fails alone.',
    query: AnalyzeQuery,
    body: {
      contentType: 'multipart/form-data',
      schema: Type.Object(
        { ...options, files: Type.Array(Image, { minItems: 1, description: '`http.batchMax` at most' }) },
        { ...closed, title: 'AnalyzeBatchForm' },
      ),
      fileTypes: IMAGE_TYPES,
      fileField: 'files',
      checkedByOperation: true,
    },
    answers: [json(200, 'One result for each image.', BatchResult)],
    errors: ['camera_unknown', ...VISION, ...STORE_READ],
  },
} as const satisfies Record<string, Operation>;
