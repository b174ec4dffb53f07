import type { Socket } from 'node:net';
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify';
import { isLoopback, type Settings } from '../config/schema.ts';
import type { AgentApi } from '../contract/api.ts';
import { AgentError } from '../base/errors.ts';
import type { Log } from '../base/log.ts';
import { COMPILERS } from './compilers.ts';
import { Connections } from './connections.ts';
import { entrance, pathOf } from './entrance.ts';
import type { Feed } from './feed.ts';
import { problemOf, retryAfterS } from './problem.ts';
import { parserProblem, sayProblem } from './raw-answer.ts';
import { analyzeRoutes } from './routes/analyze.ts';
import { cameraRoutes } from './routes/cameras.ts';
import { docsRoutes } from './routes/docs.ts';
import { eventRoutes } from './routes/events.ts';
import { healthRoutes } from './routes/health.ts';
import { labelRoutes } from './routes/labels.ts';
import { metricsRoutes } from './routes/metrics.ts';
import { modelRoutes } from './routes/models.ts';
import { observationRoutes } from './routes/observations.ts';
import { outboxRoutes } from './routes/outbox.ts';
import { rootRoutes } from './routes/root.ts';
import { statusRoutes } from './routes/status.ts';
import { addSecurityHeaders } from './security-headers.ts';
import type { MetricsPage } from './types.ts';

export interface HttpServerDeps {
  readonly api: AgentApi;
  readonly log: Log;
  readonly version: string;
  readonly metrics?: MetricsPage;
  /** What `/api/v1/events` tells; without one there is no such path. */
  readonly feed?: Feed;
}

export interface HttpAddress {
  readonly port: number;
  /** Base URL for this machine. */
  readonly address: string;
  /** URL of the web page for other machines; null when the server listens on loopback only or on all addresses. */
  readonly pageUrl: string | null;
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
  eventRoutes,
  outboxRoutes,
  docsRoutes,
];

const BODY_LIMIT_BYTES = 64 * 1024;
const HEADERS_WITHIN_MS = 10_000;
const HEADERS_LIMIT_BYTES = 16 * 1024;
/** The largest batch over a slow line takes so long; bodies of JSON, and senders that idle, have far less. */
const RECEIVE_TIMEOUT_MS = 3_600_000;
const LOOK_EVERY_MS = 1000;
/** Between two requests of one connection. */
const KEEP_ALIVE_MS = 60_000;
/** Without a byte either way, while it is the client's turn. */
const IDLE_TIMEOUT_MS = 30_000;
/** Connections that wait to be accepted: a burst of others must not keep a supervisor's waiting. */
const BACKLOG = 511;
const FINISH_WITHIN_MS = 7000;

/** The agent's HTTP API. Errors are RFC 9457 problem documents; loopback, unless the settings say otherwise. */
export class HttpServer {
  readonly #options: Settings['http'];
  readonly #deps: HttpServerDeps;
  readonly #connections = new Connections();
  readonly #stopping = new AbortController();
  #app: FastifyInstance | null = null;
  #stopped: Promise<void> | null = null;

  constructor(options: Settings['http'], deps: HttpServerDeps) {
    this.#options = options;
    this.#deps = deps;
  }

  /** Listens. Throws `http_listen` when the address cannot be had. */
  async start(): Promise<HttpAddress> {
    const { host, port } = this.#options;
    const app = await this.#build();
    this.#app = app;
    try {
      await app.listen({ host: host.replace(/^\[|\]$/g, ''), port, backlog: BACKLOG });
    } catch (error) {
      await this.stop();
      const code = error instanceof Error && 'code' in error ? String(error.code) : 'unknown';
      throw new AgentError('http_listen', `cannot listen on ${host}:${String(port)} (${code})`, {
        cause: error,
      });
    }
    const address = app.server.address();
    const actualPort = typeof address === 'object' && address !== null ? address.port : port;
    const url = `http://${host}:${String(actualPort)}`;
    return { port: actualPort, address: url, pageUrl: isReachable(host) ? `${url}/` : null };
  }

  /**
   * Takes nothing new from now on (503), lets requests under way finish for seven seconds, cuts what lasts longer, and
   * frees the port.
   */
  stop(): Promise<void> {
    this.#stopped ??= this.#stop();
    return this.#stopped;
  }

  async #stop(): Promise<void> {
    this.#stopping.abort();
    const app = this.#app;
    this.#app = null;
    if (!app) return;
    await this.#connections.quiet(FINISH_WITHIN_MS);
    this.#connections.cut();
    await app.close();
  }

  async #build(): Promise<FastifyInstance> {
    // Loaded here, so that commands which only import the class do not pay for it.
    const { fastify } = await import('fastify');
    const connections = this.#connections;
    const app = fastify({
      logger: false,
      bodyLimit: BODY_LIMIT_BYTES,
      requestTimeout: RECEIVE_TIMEOUT_MS,
      connectionTimeout: IDLE_TIMEOUT_MS,
      keepAliveTimeout: KEEP_ALIVE_MS,
      http: {
        headersTimeout: HEADERS_WITHIN_MS,
        maxHeaderSize: HEADERS_LIMIT_BYTES,
        connectionsCheckingInterval: LOOK_EVERY_MS,
        // Refused by the guard, with a problem document.
        requireHostHeader: false,
      },
      forceCloseConnections: true,
      return503OnClosing: false,
      schemaController: { compilersFactory: COMPILERS },
      clientErrorHandler: (error, socket) => {
        if (!connections.mayAnswer(socket)) socket.destroy();
        else {
          const { error: problem, ...as } = parserProblem(error.code);
          this.#deps.metrics?.refused(problem.code);
          sayProblem(socket, problem, as);
        }
      },
      frameworkErrors: (error, _request, reply) => {
        addSecurityHeaders(reply);
        this.#answer(error, reply);
      },
    });
    // JSON only: a form or plain text is what a foreign page could send unasked.
    app.removeContentTypeParser('text/plain');
    const { server } = app;
    connections.attach(server);
    // Bodies are asked for behind the guard; what else may be expected is for no one here to promise.
    for (const event of ['checkContinue', 'checkExpectation'])
      server.on(event, (request, response) => server.emit('request', request, response));
    server.on('connect', (_request, socket: Socket) =>
      sayProblem(socket, new AgentError('request_invalid', 'this is no proxy')),
    );
    const methods = rememberMethods(app);
    const stopping = this.#stopping.signal;
    entrance(app, this.#options, { connections, stopping, methods });
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
    app.setErrorHandler((error, request, reply) => {
      this.#answer(error, reply, request);
    });
    const refuse = (request: FastifyRequest, reply: FastifyReply): never => {
      const allowed = methods(pathOf(request));
      if (allowed.length === 0) throw new AgentError('request_not_found', 'there is nothing at this path');
      void reply.header('allow', allowed.join(', '));
      throw new AgentError('request_method', `this path takes ${allowed.join(', ')}`);
    };
    // Before its body is read: nobody wants that.
    app.addHook('onRequest', (request, reply, done) => {
      if (request.is404 && request.method !== 'OPTIONS') refuse(request, reply);
      done();
    });
    app.setNotFoundHandler((request, reply) => {
      if (request.method !== 'OPTIONS' || methods(pathOf(request)).length === 0) refuse(request, reply);
      return reply
        .code(204)
        .header('allow', methods(pathOf(request)).join(', '))
        .send();
    });
    for (const routes of [...ROUTES, analyzeRoutes(this.#options)]) routes(app, { ...this.#deps, stopping });
    return app;
  }

  #answer(error: unknown, reply: FastifyReply, request?: FastifyRequest): void {
    const problem = problemOf(error);
    this.#deps.metrics?.refused(problem.code);
    if (problem.status === 500)
      this.#deps.log.error(
        { err: error, method: request?.method, route: request?.routeOptions.url },
        'request failed',
      );
    if (problem.status === 401) void reply.header('www-authenticate', 'Bearer');
    if (problem.status === 503 || problem.status === 429)
      void reply.header('retry-after', String(retryAfterS(error)));
    // Bytes, because fastify adds a charset to text, and this media type has none.
    const body = Buffer.from(JSON.stringify(problem));
    void reply.code(problem.status).header('content-type', 'application/problem+json').send(body);
  }
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

/** True when other machines can open a page under this address. */
const isReachable = (host: string): boolean => !isLoopback(host) && host !== '0.0.0.0' && host !== '::';
