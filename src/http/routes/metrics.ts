import { HEALTH_OPERATIONS } from '../../contract/openapi/health-operations.ts';
import { answer } from '../route.ts';
import type { Routes } from '../types.ts';

/** Figures for Prometheus. */
export const metricsRoutes: Routes = (app, { metrics }) => {
  if (!metrics) return;
  answer(app, HEALTH_OPERATIONS.metrics, async (_asked, reply) => {
    const text = await metrics.text();
    return reply.header('content-type', metrics.contentType).header('cache-control', 'no-store').send(text);
  });
};
