import { HEALTH_OPERATIONS } from '../../contract/openapi/health-operations.ts';
import { answer } from '../route.ts';
import type { Routes } from '../types.ts';

export const statusRoutes: Routes = (app, { api }) => {
  answer(app, HEALTH_OPERATIONS.status, () => api.status());
};
