import type { Socket } from 'node:net';
import { fullFormats } from 'ajv-formats/dist/formats.js';
import type { FastifyInstance, FastifyReply, FastifyRequest, FastifyServerOptions } from 'fastify';
import { closeQuietly } from '../base/closing.ts';
import { isLoopback, type Settings } from '../config/schema.ts';
import type { AgentApi } from '../contract/api.ts';
import { errorCode } from '../base/disk-errors.ts';
import { AgentError } from '../base/errors.ts';
import type { Log } from '../base/log.ts';
import { schemaChecker, type AnySchema, type ValidateFunction } from '../base/schema-checker.ts';
import { Connections } from './connections.ts';
import { addEntranceHooks, pathOf } from './entrance.ts';
import type { Feed } from './feed.ts';
import { parserProblem, retryAfterS, toProblem, writeProblem } from './problem.ts';
import { addSecurityHeaders } from './response-headers.ts';
import type { RequestMetrics } from './route.ts';
import { agentRoutes } from './routes/agent.ts';
import { analyzeRoutes } from './routes/analyze.ts';
import { cameraRoutes, labelRoutes } from './routes/cameras.ts';
import { configRoutes } from './routes/config.ts';
import { healthRoutes } from './routes/health.ts';
import { historyRoutes } from './routes/history.ts';
import { modelRoutes } from './routes/models.ts';
import { seaStateRoutes } from './routes/sea-state.ts';
import { docsRoutes, rootRoutes } from './routes/pages.ts';

export interface HttpServerDeps {
  readonly api: AgentApi;
  readonly log: Log;
  readonly version: string;
  /** Without it, `/metrics` does not exist. */
  readonly metrics?: RequestMetrics;
  /** The events of `/api/v1/events`. Without it, the path does not exist. */
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
  ...[rootRoutes, healthRoutes, modelRoutes, agentRoutes, configRoutes],
  ...[cameraRoutes, seaStateRoutes, labelRoutes, historyRoutes, docsRoutes],
];

const MAX_BODY_BYTES = 64 * 1024;
const HEADERS_TIMEOUT_MS = 10_000;
const MAX_HEADER_BYTES = 16 * 1024;
/** For the largest batch over a slow network. JSON bodies and idle senders have much shorter limits. */
const RECEIVE_TIMEOUT_MS = 3_600_000;
const CHECK_INTERVAL_MS = 1000;
/** Between two requests of one connection. */
const KEEP_ALIVE_MS = 60_000;
/** Without a sent or received byte, while the agent waits for the client. */
const IDLE_TIMEOUT_MS = 30_000;
/** Connections that wait to be accepted. A burst of clients must not delay the request of a supervisor. */
const BACKLOG = 511;
const STOP_TIMEOUT_MS = 7000;

type Compilers = NonNullable<NonNullable<FastifyServerOptions['schemaController']>['compilersFactory']>;

function buildValidator() {
  const ajv = schemaChecker({ coerceTypes: true, useDefaults: true, formats: fullFormats });
  return ({ schema }: { readonly schema: AnySchema }): ValidateFunction => ajv.compile(schema);
}

/** Replaces fastify's compilers, which would load a serializer compiler and a second version of Ajv. */
const COMPILERS: Compilers = {
  // The types declare the bare schema, but fastify passes it inside the definition of the route.
  buildValidator: buildValidator as unknown as NonNullable<Compilers['buildValidator']>,
  buildSerializer: () => () => (body) => JSON.stringify(body),
};

/** The agent's HTTP API. Errors are problem documents (RFC 9457). It listens on loopback unless the settings name another address. */
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

  /** Starts to listen. Throws `http_listen` when the address is not available. */
  async start(): Promise<HttpAddress> {
    const { host, port } = this.#options;
    const app = await this.#build();
    this.#app = app;
    try {
      await app.listen({ host: host.replace(/^\[|\]$/g, ''), port, backlog: BACKLOG });
    } catch (error) {
      await closeQuietly(() => this.stop());
      const reason = errorCode(error) ?? 'unknown';
      throw new AgentError('http_listen', `cannot listen on ${host}:${String(port)} (${reason})`, {
        cause: error,
      });
    }
    const address = app.server.address();
    const actualPort = typeof address === 'object' && address !== null ? address.port : port;
    const url = `http://${host}:${String(actualPort)}`;
    return { port: actualPort, address: url, pageUrl: isReachable(host) ? `${url}/` : null };
  }

  /**
   * Refuses new requests (503), waits up to seven seconds for open requests, cuts the remaining ones, and closes the
   * port.
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
    await this.#connections.whenIdle(STOP_TIMEOUT_MS);
    this.#connections.cutAll();
    await app.close();
  }

  async #build(): Promise<FastifyInstance> {
    // Loaded here, so that commands of the command line which only import the class start faster.
    const { fastify } = await import('fastify');
    const connections = this.#connections;
    const app = fastify({
      logger: false,
      bodyLimit: MAX_BODY_BYTES,
      requestTimeout: RECEIVE_TIMEOUT_MS,
      connectionTimeout: IDLE_TIMEOUT_MS,
      keepAliveTimeout: KEEP_ALIVE_MS,
      http: {
        headersTimeout: HEADERS_TIMEOUT_MS,
        maxHeaderSize: MAX_HEADER_BYTES,
        connectionsCheckingInterval: CHECK_INTERVAL_MS,
        // The guard refuses such requests, with a problem document.
        requireHostHeader: false,
      },
      forceCloseConnections: true,
      return503OnClosing: false,
      schemaController: { compilersFactory: COMPILERS },
      clientErrorHandler: (error, socket) => {
        if (!connections.canWriteTo(socket)) socket.destroy();
        else {
          const { error: problem, ...overrides } = parserProblem(error.code);
          this.#deps.metrics?.countProblem(problem.code);
          writeProblem(socket, problem, overrides);
        }
      },
      frameworkErrors: (error, _request, reply) => {
        addSecurityHeaders(reply);
        this.#sendProblem(error, reply);
      },
    });
    // Accept only JSON: a foreign page can send plain text or a form without a preflight.
    app.removeContentTypeParser('text/plain');
    const { server } = app;
    connections.attach(server);
    // The entrance hooks send `100 Continue` after the guard. Other expectations are ignored.
    for (const event of ['checkContinue', 'checkExpectation'])
      server.on(event, (request, response) => server.emit('request', request, response));
    server.on('connect', (_request, socket: Socket) =>
      writeProblem(socket, new AgentError('request_invalid', 'this server is not a proxy')),
    );
    const methods = recordMethods(app);
    const stopping = this.#stopping.signal;
    addEntranceHooks(app, this.#options, { connections, stopping, methods });
    const { metrics } = this.#deps;
    if (metrics)
      app.addHook('onResponse', (request, reply, done) => {
        metrics.countRequest(
          request.method,
          request.routeOptions.url ?? null,
          reply.statusCode,
          reply.elapsedTime,
        );
        done();
      });
    app.setErrorHandler((error, request, reply) => {
      this.#sendProblem(error, reply, request);
    });
    const refuseUnknown = (request: FastifyRequest, reply: FastifyReply): never => {
      const allowed = methods(pathOf(request));
      if (allowed.length === 0) throw new AgentError('request_not_found', 'this path does not exist');
      void reply.header('allow', allowed.join(', '));
      throw new AgentError('request_method', `this path allows ${allowed.join(', ')}`);
    };
    // Refuse before the body is read.
    app.addHook('onRequest', (request, reply, done) => {
      if (request.is404 && request.method !== 'OPTIONS') refuseUnknown(request, reply);
      done();
    });
    app.setNotFoundHandler((request, reply) => {
      if (request.method !== 'OPTIONS' || methods(pathOf(request)).length === 0)
        refuseUnknown(request, reply);
      return reply
        .code(204)
        .header('allow', methods(pathOf(request)).join(', '))
        .send();
    });
    for (const routes of [...ROUTES, analyzeRoutes(this.#options)]) routes(app, { ...this.#deps, stopping });
    return app;
  }

  #sendProblem(error: unknown, reply: FastifyReply, request?: FastifyRequest): void {
    const problem = toProblem(error);
    this.#deps.metrics?.countProblem(problem.code);
    if (problem.status === 500)
      this.#deps.log.error(
        { err: error, method: request?.method, route: request?.routeOptions.url },
        'request failed',
      );
    if (problem.status === 401) void reply.header('www-authenticate', 'Bearer');
    if (problem.status === 503 || problem.status === 429)
      void reply.header('retry-after', String(retryAfterS(error)));
    // Send bytes: fastify adds a charset to text, which this media type does not have.
    const body = Buffer.from(JSON.stringify(problem));
    void reply.code(problem.status).header('content-type', 'application/problem+json').send(body);
  }
}

/** Records all routes. The returned function gives the methods of a path, for 405 and its `Allow` header. */
function recordMethods(app: FastifyInstance): (path: string) => string[] {
  const known: { readonly method: string; readonly path: RegExp }[] = [];
  app.addHook('onRoute', ({ method, url }) => {
    const path = new RegExp(`^${url.replace(/[.*+?^${}()|[\]\\]/g, '\\$&').replace(/:\w+/g, '[^/]+')}$`);
    for (const name of [method].flat()) known.push({ method: name, path });
  });
  return (path) => [...new Set(known.filter((route) => route.path.test(path)).map(({ method }) => method))];
}

/** True when other machines can open a page at this address. */
const isReachable = (host: string): boolean => !isLoopback(host) && host !== '0.0.0.0' && host !== '::';
