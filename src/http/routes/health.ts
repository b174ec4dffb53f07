import type { AgentApi } from '../../contract/api.ts';
import { HEALTH_OPERATIONS } from '../../contract/openapi/health-operations.ts';
import { addRoute, type Routes } from '../route.ts';

/** More than a report ever has: unlike MQTT, HTTP has no small limit. */
const MAX_REPORT_BYTES = 4_000_000;

type Condition = 'ok' | 'degraded' | 'failed';

function readCondition(api: AgentApi): { readonly status: Condition; readonly degraded: readonly string[] } {
  const { degraded } = api.health();
  if (!api.live()) return { status: 'failed', degraded };
  return { status: degraded.length > 0 ? 'degraded' : 'ok', degraded };
}

/** Liveness, readiness, health, status and metrics. A supervisor needs only the status code: 200 or 503. */
export const healthRoutes: Routes = (app, { api, metrics }) => {
  const { live, ready, health, healthDetailed, status, log, diagnostics } = HEALTH_OPERATIONS;
  addRoute(app, live, (_request, reply) => {
    const isLive = api.live();
    void reply.code(isLive ? 200 : 503);
    return { live: isLive };
  });
  addRoute(app, ready, (_request, reply) => {
    const readiness = api.ready();
    void reply.code(readiness.ready ? 200 : 503);
    return { ready: readiness.ready, missing: readiness.missing };
  });
  addRoute(app, health, (_request, reply) => {
    const condition = readCondition(api);
    void reply.code(condition.status === 'failed' ? 503 : 200);
    return condition;
  });
  addRoute(app, healthDetailed, (_request, reply) => {
    const condition = readCondition(api);
    void reply.code(condition.status === 'failed' ? 503 : 200);
    return { status: condition.status, live: api.live(), ...api.ready(), health: api.health() };
  });
  addRoute(app, status, () => api.status());
  addRoute(app, log, ({ query }) => ({ lines: [...api.log(query.limit)] }));
  addRoute(app, diagnostics, () => api.diagnostics({ maxBytes: MAX_REPORT_BYTES }));
  if (!metrics) return;
  addRoute(app, HEALTH_OPERATIONS.metrics, async (_request, reply) => {
    const text = await metrics.text();
    return reply.header('content-type', metrics.contentType).header('cache-control', 'no-store').send(text);
  });
};
