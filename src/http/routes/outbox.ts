import { HISTORY_OPERATIONS } from '../../contract/openapi/history-operations.ts';
import { answer } from '../route.ts';
import type { Routes } from '../types.ts';

export const outboxRoutes: Routes = (app, { api }) => {
  answer(app, HISTORY_OPERATIONS.outbox, () => api.outbox());
};
