import { Type, type Static, type TSchema } from '@sinclair/typebox';
import { AnalysisResult, BatchResult } from '../analysis.ts';
import { closed } from '../schema-parts.ts';
import { CameraId, Flag, jsonAnswer, STORE_READ_ERRORS, VISION_ERRORS, operations } from './operation.ts';

const options = {
  camera: Type.Optional({
    ...CameraId,
    description: 'the camera whose region, masks and calibration are used',
  }),
  strict: Type.Optional({ ...Flag, description: 'an image that the quality gate rejects is an error (422)' }),
};
/** Also allowed as form fields in front of the images. */
export const AnalyzeQuery = Type.Object(options, closed);
export type AnalyzeQuery = Static<typeof AnalyzeQuery>;

const Image: TSchema = Type.Unsafe({ type: 'string', format: 'binary', description: 'JPEG, PNG or WebP' });
const IMAGE_TYPES = 'image/jpeg, image/png, image/webp';

export const ANALYSIS_OPERATIONS = operations('analysis', {
  analyze: {
    method: 'POST',
    path: '/api/v1/analyze',
    summary: 'Analyses one image.',
    description:
      'The content determines the format, not the file name. An image that the quality gate does not accept is `rejected`, ' +
      'with reasons and null values, never 0.0.',
    query: AnalyzeQuery,
    body: {
      contentType: 'multipart/form-data',
      schema: Type.Object({ ...options, file: Image }, { ...closed, title: 'AnalyzeForm' }),
      fileTypes: IMAGE_TYPES,
      fileField: 'file',
      checkedByOperation: true,
    },
    answers: [jsonAnswer(200, 'The result.', AnalysisResult)],
    errors: [
      'camera_unknown',
      'image_empty',
      'image_corrupt',
      'image_unsupported',
      'image_too_large',
      'image_rejected',
      ...VISION_ERRORS,
      ...STORE_READ_ERRORS,
    ],
  },
  analyzeBatch: {
    method: 'POST',
    path: '/api/v1/analyze/batch',
    summary: 'Analyses several images, in the order of the request. A bad image does not affect the others.',
    query: AnalyzeQuery,
    body: {
      contentType: 'multipart/form-data',
      schema: Type.Object(
        { ...options, files: Type.Array(Image, { minItems: 1, description: 'at most `http.batchMax`' }) },
        { ...closed, title: 'AnalyzeBatchForm' },
      ),
      fileTypes: IMAGE_TYPES,
      fileField: 'files',
      checkedByOperation: true,
    },
    answers: [jsonAnswer(200, 'One result or problem for each image.', BatchResult)],
    errors: ['camera_unknown', ...VISION_ERRORS, ...STORE_READ_ERRORS],
  },
});
