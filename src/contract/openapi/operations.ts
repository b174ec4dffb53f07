import { ANALYSIS_OPERATIONS } from './analysis-operations.ts';
import { CAMERA_OPERATIONS } from './camera-operations.ts';
import { HEALTH_OPERATIONS, PAGE_OPERATIONS } from './health-operations.ts';
import { HISTORY_OPERATIONS } from './history-operations.ts';
import { MODEL_OPERATIONS } from './model-operations.ts';
import type { Operation } from './operation.ts';

/** All that the HTTP API takes. */
export const OPERATIONS = {
  ...ANALYSIS_OPERATIONS,
  ...HISTORY_OPERATIONS,
  ...CAMERA_OPERATIONS,
  ...MODEL_OPERATIONS,
  ...HEALTH_OPERATIONS,
  ...PAGE_OPERATIONS,
} as const satisfies Record<string, Operation>;
