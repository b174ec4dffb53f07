import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify';
import { isLoopback, type Settings } from '../config/schema.ts';
import { AgentError } from '../base/errors.ts';
import { compressResponses } from './compression.ts';
import type { Connections } from './connections.ts';
import { addCorsHeaders, isPreflight, sendPreflightResponse } from './cors.ts';
import { createGuard, pathOf } from './guard.ts';
import { writeProblem } from './problem.ts';
import { clientKey, RateLimit } from './rate-limit.ts';
import { addSecurityHeaders, relaxPolicyForPages } from './response-headers.ts';
import { discardRest } from './upload.ts';

export interface EntranceDeps {
  readonly connections: Connections;
  readonly stopping: AbortSignal;
  /** The methods of a path. */
  readonly methods: (path: string) => readonly string[];
}

/** Supervisors and Prometheus get a response also when other clients exceed the rate limit. */
const UNLIMITED_PATHS = new Set(['/live', '/ready', '/metrics']);
/** Deadline for a JSON body. Forms with images have their own (`UploadWatch`). */
const BODY_TIMEOUT_MS = 30_000;

/** Adds the hooks that each request passes before its route, and each response before it is sent. */
export function addEntranceHooks(
  app: FastifyInstance,
  options: Settings['http'],
  { connections, stopping, methods }: EntranceDeps,
): void {
  const { cors, token, host } = options;
  const checkRequest = createGuard({ isLoopback: isLoopback(host), token, cors });
  const limit = new RateLimit(
    { perMinute: options.rateLimit },
    { clock: { monoMs: () => performance.now() } },
  );
  const countRequest = ({ raw }: FastifyRequest): void => {
    const waitMs = limit.take(clientKey(raw.socket.remoteAddress));
    if (waitMs > 0)
      throw new AgentError(
        'request_too_many',
        'this address sends more requests than http.rateLimit allows',
        {
          context: { retryAfterS: Math.ceil(waitMs / 1000) },
        },
      );
  };
  const admit = (request: FastifyRequest, reply: FastifyReply): void => {
    const path = pathOf(request);
    if (path !== '/live') {
      if (stopping.aborted)
        throw new AgentError('request_stopping', 'the agent is stopping and accepts no new requests');
      if (connections.isOver(request.raw.socket))
        throw new AgentError('request_overload', 'too many connections or requests at the same time');
    }
    const isUnlimited = UNLIMITED_PATHS.has(path);
    if (!isUnlimited) countRequest(request);
    addCorsHeaders(request, reply, cors);
    try {
      checkRequest(request);
    } catch (thrown) {
      // Count refused requests of unlimited paths too, so that nobody can guess tokens there.
      if (isUnlimited) countRequest(request);
      throw thrown;
    }
  };

  app.addHook('onRequest', (request, reply, done) => {
    addSecurityHeaders(reply);
    admit(request, reply);
    if (isPreflight(request) && reply.hasHeader('access-control-allow-origin')) {
      const allowed = methods(pathOf(request));
      if (allowed.length > 0) {
        sendPreflightResponse(request, reply, allowed);
        return;
      }
    }
    if (hasBody(request)) startBodyTimeout(request, connections);
    done();
  });
  app.addHook('preParsing', (request, reply, payload, done) => {
    // Send `100 Continue` only now: a client does not send the body of a request that the earlier hooks refused.
    if (expectsContinue(request) && !request.is404) reply.raw.writeContinue();
    done(null, payload);
  });
  app.addHook('onSend', (request, reply, _payload, done) => {
    relaxPolicyForPages(reply);
    if (stopping.aborted || connections.isOver(request.raw.socket)) void reply.header('connection', 'close');
    if (hasBody(request)) discardRest(request.raw);
    done();
  });
  app.addHook('onSend', compressResponses());
}

const hasBody = ({ headers }: FastifyRequest): boolean =>
  headers['transfer-encoding'] !== undefined || Number(headers['content-length'] ?? 0) > 0;

const expectsContinue = ({ headers }: FastifyRequest): boolean =>
  headers.expect?.toLowerCase() === '100-continue';

function startBodyTimeout({ raw, headers }: FastifyRequest, connections: Connections): void {
  if (/^multipart\//i.test(headers['content-type'] ?? '')) return;
  const timer = setTimeout(() => {
    if (raw.complete) return;
    if (connections.canWriteTo(raw.socket))
      writeProblem(raw.socket, new AgentError('request_timeout', 'the body did not arrive in time'));
    else raw.socket.destroy();
  }, BODY_TIMEOUT_MS);
  timer.unref();
  for (const event of ['end', 'close']) raw.once(event, () => clearTimeout(timer));
}
