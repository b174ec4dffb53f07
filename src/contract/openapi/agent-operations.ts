import { Type } from '@sinclair/typebox';
import { AgentInstallArgs, AgentUpdate, AgentVersions } from '../agent-update.ts';
import { closed } from '../schema-parts.ts';
import { jsonAnswer, type Operation } from './operation.ts';

/** The arguments of the command `agent.install`. The default source is the repository. */
const AgentInstallBody = Type.Composite(
  [
    Type.Omit(AgentInstallArgs, ['source']),
    Type.Object({ source: Type.Optional(AgentInstallArgs.properties.source) }),
  ],
  { ...closed, title: 'AgentInstallRequest' },
);

const UpdateBegun = Type.Object({ update: AgentUpdate }, { ...closed, title: 'UpdateBegun' });

export const AGENT_OPERATIONS = {
  agentVersions: {
    method: 'GET',
    path: '/api/v1/agent',
    tag: 'agent',
    summary: 'Returns the versions of the agent on this device, and the current or the last update.',
    answers: [jsonAnswer(200, 'The same document as on the MQTT topic `agent/state`.', AgentVersions)],
    errors: [],
  },
  agentInstall: {
    method: 'POST',
    path: '/api/v1/agent/install',
    tag: 'agent',
    summary: 'Starts an update of the agent to another version.',
    description:
      'The response is sent when the request is stored. The agent restarts during the update; `/api/v1/agent` reports the ' +
      'progress and the result.',
    body: { contentType: 'application/json', schema: AgentInstallBody },
    answers: [jsonAnswer(202, 'The update has started.', UpdateBegun)],
    errors: [
      'update_unavailable',
      'update_no_repository',
      'update_busy',
      'update_banned',
      'update_downgrade',
      'store_failed',
    ],
  },
  agentRollback: {
    method: 'POST',
    path: '/api/v1/agent/rollback',
    tag: 'agent',
    summary: 'Starts the return to the former version of the agent, without network.',
    answers: [jsonAnswer(202, 'The return has started; the agent restarts.', UpdateBegun)],
    errors: ['update_unavailable', 'update_busy', 'update_no_previous', 'store_failed'],
  },
} as const satisfies Record<string, Operation>;
