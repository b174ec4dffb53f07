import type { FastifyReply } from 'fastify';
import { CONFIRM_WITHIN_S, type Deferred } from '../../contract/config.ts';
import { CONFIG_OPERATIONS } from '../../contract/openapi/config-operations.ts';
import { addRoute, disconnectSignal, withTimeout, type Routes } from '../route.ts';

/** Longer than a test or an examination may take: these end by themselves. */
const TIMEOUT_MS = 45_000;

/** The configuration of the device: its settings, tests of cameras, and what is wrong with it. */
export const configRoutes: Routes = (app, { api }) => {
  const operations = CONFIG_OPERATIONS;
  addRoute(app, operations.config, () => api.getConfig());
  addRoute(app, operations.configPatch, ({ body }, reply) =>
    beginAfterResponse(api.setConfig(body.patch, body.confirm_within_s ?? CONFIRM_WITHIN_S.usual), reply),
  );
  addRoute(app, operations.configConfirm, ({ body }, reply) =>
    api.confirmConfig(body.trial ?? null, disconnectSignal(reply)),
  );
  addRoute(app, operations.configWithdraw, ({ query }, reply) =>
    beginAfterResponse(api.withdrawConfig(query.trial ?? null), reply),
  );
  addRoute(app, operations.configDrop, ({ query }) => api.dropConfig(query.key ?? null));
  addRoute(app, operations.cameraTest, ({ body }, reply) =>
    withTimeout(TIMEOUT_MS, reply, (signal) => api.testCamera(body.camera, signal), 'command_timeout'),
  );
  addRoute(app, operations.doctor, (_request, reply) =>
    withTimeout(TIMEOUT_MS, reply, (signal) => api.examine(signal), 'command_timeout'),
  );
  addRoute(app, operations.info, () => api.info());
};

/** Begins work that may end this connection when the response is sent, or cannot be sent. */
function beginAfterResponse<T>({ answer, begin }: Deferred<T>, reply: FastifyReply): T {
  reply.raw.once('close', begin);
  return answer;
}
