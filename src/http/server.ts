import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify';
import { isLoopback } from '../config/loopback.ts';
import type { Settings } from '../config/schema.ts';
import type { AgentApi } from '../contract/api.ts';
import { AgentError } from '../errors.ts';
import type { Log } from '../log.ts';
import { guard } from './guard.ts';
import { problemOf } from './problem.ts';
import { analyzeRoutes } from './routes/analyze.ts';
import { cameraRoutes } from './routes/cameras.ts';
import { healthRoutes } from './routes/health.ts';
import { labelRoutes } from './routes/labels.ts';
import { metricsRoutes } from './routes/metrics.ts';
import { modelRoutes } from './routes/models.ts';
import { observationRoutes } from './routes/observations.ts';
import { outboxRoutes } from './routes/outbox.ts';
import { rootRoutes } from './routes/root.ts';
import { statusRoutes } from './routes/status.ts';
import type { MetricsPage } from './types.ts';

export interface HttpServerDeps {
  readonly api: AgentApi;
  readonly log: Log;
  readonly version: string;
  readonly metrics?: MetricsPage;
}

const ROUTES = [
  rootRoutes,
  healthRoutes,
  metricsRoutes,
  statusRoutes,
  modelRoutes,
  cameraRoutes,
  labelRoutes,
  observationRoutes,
  outboxRoutes,
];

const BODY_LIMIT_BYTES = 64 * 1024;
const RECEIVE_TIMEOUT_MS = 30_000;
const IDLE_TIMEOUT_MS = 60_000;
const STOP_WITHIN_MS = 2000;
const RETRY_AFTER_S = 5;

/** The agent's HTTP API. Errors are RFC 9457 problem documents; loopback, unless the settings say otherwise. */
export class HttpServer {
  readonly #options: Settings['http'];
  readonly #deps: HttpServerDeps;
  #app: FastifyInstance | null = null;

  constructor(options: Settings['http'], deps: HttpServerDeps) {
    this.#options = options;
    this.#deps = deps;
  }

  /** Listens. Throws `http_listen` when the address cannot be had. */
  async start(): Promise<{ readonly port: number }> {
    const { host, port } = this.#options;
    const app = await this.#build();
    this.#app = app;
    try {
      await app.listen({ host: host.replace(/^\[|\]$/g, ''), port, backlog: 64 });
    } catch (error) {
      await this.stop();
      const code = error instanceof Error && 'code' in error ? String(error.code) : 'unknown';
      throw new AgentError('http_listen', `cannot listen on ${host}:${String(port)} (${code})`, {
        cause: error,
      });
    }
    const address = app.server.address();
    return { port: typeof address === 'object' && address !== null ? address.port : port };
  }

  /** Ends within two seconds: open requests that last longer are cut. */
  async stop(): Promise<void> {
    const app = this.#app;
    this.#app = null;
    if (!app) return;
    const cut = setTimeout(() => {
      app.server.closeAllConnections();
    }, STOP_WITHIN_MS);
    try {
      await app.close();
    } finally {
      clearTimeout(cut);
    }
  }

  async #build(): Promise<FastifyInstance> {
    // Loaded here, so that commands which only import the class do not pay for it.
    const { fastify } = await import('fastify');
    const app = fastify({
      logger: false,
      bodyLimit: BODY_LIMIT_BYTES,
      requestTimeout: RECEIVE_TIMEOUT_MS,
      keepAliveTimeout: IDLE_TIMEOUT_MS,
      forceCloseConnections: 'idle',
      ajv: { customOptions: { removeAdditional: false, coerceTypes: true, allErrors: false } },
      clientErrorHandler: (_error, socket) => {
        // Bytes that are no HTTP: nothing can be said to the one who sent them.
        if (socket.writable)
          socket.end('HTTP/1.1 400 Bad Request\r\nconnection: close\r\ncontent-length: 0\r\n\r\n');
      },
      frameworkErrors: (error, _request, reply) => {
        this.#answer(error, reply);
      },
    });
    // JSON only: a form or plain text is what a foreign page could send unasked.
    app.removeContentTypeParser('text/plain');
    const check = guard({
      loopback: isLoopback(this.#options.host),
      token: this.#options.token,
      cors: this.#options.cors,
    });
    app.addHook('onRequest', (request, reply, done) => {
      void reply.header('x-content-type-options', 'nosniff');
      check(request);
      done();
    });
    const { metrics } = this.#deps;
    if (metrics)
      app.addHook('onResponse', (request, reply, done) => {
        metrics.requested(
          request.method,
          request.routeOptions.url ?? null,
          reply.statusCode,
          reply.elapsedTime,
        );
        done();
      });
    const methods = rememberMethods(app);
    app.setErrorHandler((error, request, reply) => {
      this.#answer(error, reply, request);
    });
    app.setNotFoundHandler((request, reply) => {
      const allowed = methods(request.url.split('?', 1)[0] ?? '');
      if (allowed.length === 0) throw new AgentError('request_not_found', 'there is nothing at this path');
      void reply.header('allow', allowed.join(', '));
      throw new AgentError('request_method', `this path takes ${allowed.join(', ')}`);
    });
    for (const routes of [...ROUTES, analyzeRoutes(this.#options)]) routes(app, this.#deps);
    return app;
  }

  #answer(error: unknown, reply: FastifyReply, request?: FastifyRequest): void {
    const problem = problemOf(error);
    if (problem.status === 500)
      this.#deps.log.error(
        { err: error, method: request?.method, route: request?.routeOptions.url },
        'request failed',
      );
    if (problem.status === 401) void reply.header('www-authenticate', 'Bearer');
    if (problem.status === 503) void reply.header('retry-after', String(retryAfterS(error)));
    // Bytes, because fastify adds a charset to text, and this media type has none.
    const body = Buffer.from(JSON.stringify(problem));
    void reply.code(problem.status).header('content-type', 'application/problem+json').send(body);
  }
}

/** What the one who refused says, or a guess. */
function retryAfterS(error: unknown): number {
  const said = error instanceof AgentError ? error.context['retryAfterS'] : undefined;
  return typeof said === 'number' ? said : RETRY_AFTER_S;
}

/** Which methods a path would take, for 405 and its `Allow`. */
function rememberMethods(app: FastifyInstance): (path: string) => string[] {
  const known: { readonly method: string; readonly path: RegExp }[] = [];
  app.addHook('onRoute', ({ method, url }) => {
    const path = new RegExp(`^${url.replace(/[.*+?^${}()|[\]\\]/g, '\\$&').replace(/:\w+/g, '[^/]+')}$`);
    for (const one of [method].flat()) known.push({ method: one, path });
  });
  return (path) => [...new Set(known.filter((route) => route.path.test(path)).map(({ method }) => method))];
}
