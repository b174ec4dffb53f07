import type { AgentApi } from '../../contract/api.ts';
import { HEALTH_OPERATIONS } from '../../contract/openapi/health-operations.ts';
import { answer } from '../route.ts';
import type { Routes } from '../types.ts';

type Condition = 'ok' | 'degraded' | 'failed';

function condition(api: AgentApi): { readonly status: Condition; readonly degraded: readonly string[] } {
  const { degraded } = api.health();
  if (!api.live()) return { status: 'failed', degraded };
  return { status: degraded.length > 0 ? 'degraded' : 'ok', degraded };
}

/** Liveness, readiness and health: 503 for "no", so that a supervisor needs to look at the status code only. */
export const healthRoutes: Routes = (app, { api }) => {
  const { live, ready, health, healthDetailed } = HEALTH_OPERATIONS;
  answer(app, live, (_asked, reply) => {
    const alive = api.live();
    void reply.code(alive ? 200 : 503);
    return { live: alive };
  });
  answer(app, ready, (_asked, reply) => {
    const found = api.ready();
    void reply.code(found.ready ? 200 : 503);
    return { ready: found.ready, missing: found.missing };
  });
  answer(app, health, (_asked, reply) => {
    const { status, degraded } = condition(api);
    void reply.code(status === 'failed' ? 503 : 200);
    return { status, degraded };
  });
  answer(app, healthDetailed, (_asked, reply) => {
    const { status } = condition(api);
    void reply.code(status === 'failed' ? 503 : 200);
    return { status, live: api.live(), ...api.ready(), health: api.health() };
  });
};
