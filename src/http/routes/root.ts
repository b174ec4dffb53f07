import type { Routes } from '../types.ts';

/** `GET /`: what this is, for whoever finds the port. */
export const rootRoutes: Routes = (app, { version }) => {
  app.get('/', () => ({
    name: 'swellsight',
    version,
    about: 'An edge agent that reads wave heights from a fixed surf camera.',
    paths: [
      '/live',
      '/ready',
      '/health',
      '/health/detailed',
      '/api/v1/status',
      '/api/v1/models/info',
      '/api/v1/models/install',
      '/api/v1/models/abort',
      '/api/v1/models/rollback',
      '/api/v1/models/reload',
      '/api/v1/observations',
      '/api/v1/outbox',
      '/api/v1/cameras',
      '/api/v1/cameras/{id}/latest.jpg',
      '/api/v1/cameras/{id}/capture',
      '/api/v1/cameras/{id}/labels',
      '/api/v1/cameras/{id}/calibration',
    ],
  }));
};
