import type { Routes } from '../types.ts';

export const statusRoutes: Routes = (app, { api }) => {
  app.get('/api/v1/status', () => api.status());
};
