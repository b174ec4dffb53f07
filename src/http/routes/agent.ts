import { AGENT_OPERATIONS } from '../../contract/openapi/agent-operations.ts';
import { addRoute, type Routes } from '../route.ts';

/** The versions of the agent, and requests that change the running one. */
export const agentRoutes: Routes = (app, { api }) => {
  const { agentVersions, agentInstall, agentRollback } = AGENT_OPERATIONS;
  addRoute(app, agentVersions, () => api.listAgentVersions());
  // Both answers are sent when the request is stored: the agent restarts before the update ends.
  addRoute(app, agentInstall, ({ body }) => {
    const { source = { kind: 'repository' } } = body;
    const { update, ends } = api.installAgent({ ...body, source });
    ends.catch(() => undefined);
    return { update };
  });
  addRoute(app, agentRollback, () => {
    const { update, ends } = api.rollbackAgent();
    ends.catch(() => undefined);
    return { update };
  });
};
