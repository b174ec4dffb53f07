import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify';
import { isLoopback, type Settings } from '../config/schema.ts';
import { AgentError } from '../base/errors.ts';
import { clientOf } from './client-address.ts';
import { compression } from './compression.ts';
import type { Connections } from './connections.ts';
import { allowPage, answerPreflight, isPreflight } from './cors.ts';
import { guard } from './guard.ts';
import { RateLimit } from './rate-limit.ts';
import { sayProblem } from './raw-answer.ts';
import { addSecurityHeaders, allowPageItsParts } from './security-headers.ts';
import { discardRest } from './upload.ts';

export interface EntranceDeps {
  readonly connections: Connections;
  readonly stopping: AbortSignal;
  /** Which methods a path takes. */
  readonly methods: (path: string) => readonly string[];
}

/** Asked for by supervisors and by Prometheus, however much others ask. */
const UNLIMITED_PATHS = new Set(['/live', '/ready', '/metrics']);
/** A body of JSON has to be here by then; forms with images have a watch of their own. */
const BODY_WITHIN_MS = 30_000;

/** What every request passes before its route, and every answer before it is sent. */
export function entrance(
  app: FastifyInstance,
  options: Settings['http'],
  { connections, stopping, methods }: EntranceDeps,
): void {
  const { cors, token, host } = options;
  const check = guard({ loopback: isLoopback(host), token, cors });
  const limit = new RateLimit({ perMinute: options.rateLimit }, { monoMs: () => performance.now() });
  const take = ({ raw }: FastifyRequest): void => {
    const waitMs = limit.take(clientOf(raw.socket.remoteAddress));
    if (waitMs > 0)
      throw new AgentError('request_too_many', 'this address asks more often than it may', {
        context: { retryAfterS: Math.ceil(waitMs / 1000) },
      });
  };
  const admit = (request: FastifyRequest, reply: FastifyReply): void => {
    const path = pathOf(request);
    if (path !== '/live') {
      if (stopping.aborted) throw new AgentError('request_stopping', 'the agent stops and takes nothing new');
      if (connections.isOver(request.raw.socket))
        throw new AgentError('request_overload', 'too much is asked for at the same time');
    }
    const unlimited = UNLIMITED_PATHS.has(path);
    if (!unlimited) take(request);
    allowPage(request, reply, cors);
    try {
      check(request);
    } catch (thrown) {
      // Tokens are not to be guessed where nothing is counted.
      if (unlimited) take(request);
      throw thrown;
    }
  };

  app.addHook('onRequest', (request, reply, done) => {
    addSecurityHeaders(reply);
    admit(request, reply);
    if (isPreflight(request) && reply.hasHeader('access-control-allow-origin')) {
      const allowed = methods(pathOf(request));
      if (allowed.length > 0) {
        answerPreflight(request, reply, allowed);
        return;
      }
    }
    if (hasBody(request)) expectBody(request, connections);
    done();
  });
  app.addHook('preParsing', (request, reply, payload, done) => {
    // Said as late as this, so that what is refused by its headers is not sent at all.
    if (isContinueWanted(request) && !request.is404) reply.raw.writeContinue();
    done(null, payload);
  });
  app.addHook('onSend', (request, reply, _payload, done) => {
    allowPageItsParts(reply);
    if (stopping.aborted || connections.isOver(request.raw.socket)) void reply.header('connection', 'close');
    if (hasBody(request)) discardRest(request.raw);
    done();
  });
  app.addHook('onSend', compression());
}

export const pathOf = ({ url }: FastifyRequest): string => url.split('?', 1)[0] ?? '';

const hasBody = ({ headers }: FastifyRequest): boolean =>
  headers['transfer-encoding'] !== undefined || Number(headers['content-length'] ?? 0) > 0;

const isContinueWanted = ({ headers }: FastifyRequest): boolean =>
  headers.expect?.toLowerCase() === '100-continue';

function expectBody({ raw, headers }: FastifyRequest, connections: Connections): void {
  if (/^multipart\//i.test(headers['content-type'] ?? '')) return;
  const timer = setTimeout(() => {
    if (raw.complete) return;
    if (connections.mayAnswer(raw.socket))
      sayProblem(raw.socket, new AgentError('request_timeout', 'the body did not arrive in time'));
    else raw.socket.destroy();
  }, BODY_WITHIN_MS);
  timer.unref();
  for (const event of ['end', 'close']) raw.once(event, () => clearTimeout(timer));
}
