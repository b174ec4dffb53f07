import type { Routes } from '../types.ts';

/** Figures for Prometheus. */
export const metricsRoutes: Routes = (app, { metrics }) => {
  if (!metrics) return;
  app.get('/metrics', async (_request, reply) => {
    const text = await metrics.text();
    return reply.header('content-type', metrics.contentType).header('cache-control', 'no-store').send(text);
  });
};
