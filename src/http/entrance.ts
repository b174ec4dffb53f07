import { createHash, timingSafeEqual } from 'node:crypto';
import { isIP } from 'node:net';
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify';
import { isLoopback, type Settings } from '../config/schema.ts';
import { AgentError } from '../base/errors.ts';
import { isLoopbackHeader, matchesHost, parseHostPattern } from '../base/host-pattern.ts';
import { compressResponses } from './compression.ts';
import type { Connections } from './connections.ts';
import { addCorsHeaders, allowedOrigin, isPreflight, sendPreflightResponse } from './cors.ts';
import { writeProblem } from './problem.ts';
import { clientKey, RateLimit } from './rate-limit.ts';
import { addSecurityHeaders, relaxPolicyForPages } from './response-headers.ts';
import { acceptsPage } from './route.ts';
import { discardRest } from './upload.ts';

export interface EntranceDeps {
  readonly connections: Connections;
  readonly stopping: AbortSignal;
  readonly methods: (path: string) => readonly string[];
}

const SAFE_METHODS = new Set(['GET', 'HEAD', 'OPTIONS']);
/** Paths without a token, for supervisors. They reveal only yes or no. */
const OPEN_PATHS = new Set(['/live', '/ready']);
/** The web pages contain no data: browsers cannot send a token with the address, so the pages ask for it. */
const PAGE_PATH = /^\/(fleet\.html$|assets\/)/;

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
  const checkPage = createPageCheck(options);
  const checkToken = createTokenCheck(options);
  const { cors } = options;
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
    addCorsHeaders(request, reply, cors);
    // Before the count: otherwise a foreign page in the browser of the operator could use up the limit of this address.
    checkPage(request);
    const isUnlimited = UNLIMITED_PATHS.has(path);
    if (!isUnlimited) countRequest(request);
    try {
      checkToken(request);
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

/**
 * Creates the check of the target, Host, Origin and Sec-Fetch-Site of each request, which decides about web pages. It throws
 * `request_invalid`, `request_host_refused` or `request_origin_refused`.
 */
function createPageCheck(
  options: Pick<Settings['http'], 'host' | 'token' | 'cors' | 'allowedHosts'>,
): (request: FastifyRequest) => void {
  const isAllowedHost = createHostCheck(options);
  return (request) => {
    const { host, origin } = request.headers;
    // A proxy receives a full URL as the target, possibly of another host.
    if (!/^[/*]/.test(request.url)) throw new AgentError('request_invalid', 'this server is not a proxy');
    if (!hasOneHost(request)) throw new AgentError('request_invalid', 'exactly one Host header is required');
    if (!isAllowedHost(host ?? ''))
      throw new AgentError(
        'request_host_refused',
        `http.allowedHosts does not list the name of the Host header (${printableHost(host)})`,
      );
    if (isOpen(request)) return;
    if (origin !== undefined && isSameOrigin(origin, host)) return;
    const allowed = allowedOrigin(options.cors, origin);
    const isRefused =
      origin === undefined ? isForeignSubresource(request) && !options.cors.includes('*') : allowed === null;
    if (isRefused)
      throw new AgentError('request_origin_refused', 'http.cors does not list the origin of this page');
    // With `*`, every page may read, but a page may change something only with the token.
    if (allowed === '*' && options.token === null && !SAFE_METHODS.has(request.method))
      throw new AgentError(
        'request_origin_refused',
        'without a token, only pages that http.cors lists by name may send this request',
      );
  };
}

/**
 * True when a page of another site loads this address, such as an image. Browsers send no Origin then. A link to the agent on
 * another site may be followed.
 */
function isForeignSubresource({ method, headers }: FastifyRequest): boolean {
  const isFollowedLink =
    method === 'GET' && headers['sec-fetch-mode'] === 'navigate' && headers['sec-fetch-dest'] === 'document';
  return headers['sec-fetch-site'] === 'cross-site' && !isFollowedLink;
}

/** Creates the check of the bearer token. It throws `request_unauthorized`. */
function createTokenCheck({
  token,
  cors,
}: Pick<Settings['http'], 'token' | 'cors'>): (request: FastifyRequest) => void {
  if (token === null) return () => undefined;
  const expected = digest(token);
  return (request) => {
    const { authorization, origin } = request.headers;
    if (isOpen(request) || isPage(request) || (isPreflight(request) && allowedOrigin(cors, origin) !== null))
      return;
    if (!hasToken(authorization, expected))
      throw new AgentError('request_unauthorized', 'a valid bearer token is required');
  };
}

const isOpen = (request: FastifyRequest): boolean =>
  OPEN_PATHS.has(pathOf(request)) && SAFE_METHODS.has(request.method);

const isPage = (request: FastifyRequest): boolean => {
  const path = pathOf(request);
  return (PAGE_PATH.test(path) || (path === '/' && acceptsPage(request))) && SAFE_METHODS.has(request.method);
};

/**
 * Checks the Host header: after DNS rebinding to an address of this machine, a browser still sends the host name of the
 * foreign page. Headers such as X-Forwarded-Host are not read, because any client can send them.
 */
function createHostCheck({
  host,
  allowedHosts,
}: Pick<Settings['http'], 'host' | 'allowedHosts'>): (header: string) => boolean {
  const patterns = allowedHosts.map(parseHostPattern).filter((pattern) => pattern !== null);
  const isListed = (header: string): boolean => isLoopbackHeader(header) || matchesHost(header, patterns);
  if (isLoopback(host)) return isListed;
  // On other addresses every request needs the token, which a foreign page does not have.
  if (patterns.length === 0) return () => true;
  // Probes of Kubernetes and Prometheus use an address. DNS rebinding needs a name.
  return (header) => isListed(header) || isIP(header.replace(/:\d+$/, '').replace(/^\[|\]$/g, '')) !== 0;
}

const printableHost = (header = ''): string => (/^[\w.:[\]-]{1,100}$/.test(header) ? header : 'unreadable');

/** The path of a request without its query. */
export const pathOf = ({ url }: FastifyRequest): string => url.split('?', 1)[0] ?? '';

/** HTTP/1.0 allows a request without Host. With two Host headers, the agent and a proxy in front of it could choose different ones. */
function hasOneHost({ raw }: FastifyRequest): boolean {
  let hosts = 0;
  for (let at = 0; at < raw.rawHeaders.length; at += 2)
    if (raw.rawHeaders[at]?.toLowerCase() === 'host') hosts += 1;
  return hosts === 1 || (hosts === 0 && raw.httpVersion === '1.0');
}

function hasToken(authorization: string | undefined, expected: Buffer): boolean {
  const given = /^Bearer +(\S+) *$/i.exec(authorization ?? '')?.[1];
  return given !== undefined && timingSafeEqual(digest(given), expected);
}

function isSameOrigin(origin: string, host: string | undefined): boolean {
  const page = URL.parse(origin);
  // With the scheme of the page: a proxy may send the default port of https explicitly.
  return (
    page !== null && page.host !== '' && page.host === URL.parse(`${page.protocol}//${host ?? ''}`)?.host
  );
}

// timingSafeEqual requires equal lengths.
const digest = (text: string): Buffer => createHash('sha256').update(text).digest();
