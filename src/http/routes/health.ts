import type { AgentApi } from '../../contract/api.ts';
import type { Routes } from '../types.ts';

type Condition = 'ok' | 'degraded' | 'failed';

function condition(api: AgentApi): { readonly status: Condition; readonly degraded: readonly string[] } {
  const { degraded } = api.health();
  if (!api.live()) return { status: 'failed', degraded };
  return { status: degraded.length > 0 ? 'degraded' : 'ok', degraded };
}

/** Liveness, readiness and health: 503 for "no", so that a supervisor needs to look at the status code only. */
export const healthRoutes: Routes = (app, { api }) => {
  app.get('/live', (_request, reply) => {
    const live = api.live();
    void reply.code(live ? 200 : 503);
    return { live };
  });
  app.get('/ready', (_request, reply) => {
    const { ready, missing } = api.ready();
    void reply.code(ready ? 200 : 503);
    return { ready, missing };
  });
  app.get('/health', (_request, reply) => {
    const { status, degraded } = condition(api);
    void reply.code(status === 'failed' ? 503 : 200);
    return { status, degraded };
  });
  app.get('/health/detailed', (_request, reply) => {
    const { status } = condition(api);
    void reply.code(status === 'failed' ? 503 : 200);
    return { status, live: api.live(), ...api.ready(), health: api.health() };
  });
};
