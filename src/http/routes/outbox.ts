import type { Routes } from '../types.ts';

export const outboxRoutes: Routes = (app, { api }) => {
  app.get('/api/v1/outbox', () => api.outbox());
};
