import { open, readdir } from 'node:fs/promises';
import { dirname } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { FastifyReply, FastifyRequest } from 'fastify';
import { OPERATIONS } from '../../contract/openapi/emit-openapi.ts';
import { PAGE_OPERATIONS } from '../../contract/openapi/health-operations.ts';
import { AgentError } from '../../base/errors.ts';
import { addVary } from '../response-headers.ts';
import { acceptsPage, addRoute, type Routes } from '../route.ts';
import { StaticFiles } from '../static-files.ts';

/** The files of swagger-ui-dist that the page loads. The other builds and the source maps are megabytes. */
const SWAGGER_FILES = new Set(['swagger-ui-bundle.js', 'swagger-ui.css', 'favicon-32x32.png']);
const SWAGGER_MAX_AGE_MS = 86_400_000;
/** The build copies the document next to the compiled code. */
const DOCUMENT = new URL(
  import.meta.url.endsWith('.ts') ? '../../../docs/generated/openapi.json' : '../openapi.json',
  import.meta.url,
);

/** The page of the OpenAPI document. All files that it loads are on the agent. */
const DOCS_PAGE = `<!doctype html>
<html lang="en">
  <head>
    <meta charset="utf-8" />
    <meta name="viewport" content="width=device-width, initial-scale=1" />
    <title>SwellSight Edge: HTTP API</title>
    <link rel="icon" href="/docs/favicon-32x32.png" />
    <link rel="stylesheet" href="/docs/swagger-ui.css" />
  </head>
  <body>
    <div id="document"></div>
    <noscript>This page needs JavaScript; the document is at <a href="/openapi.json">/openapi.json</a>.</noscript>
    <script src="/docs/swagger-ui-bundle.js"></script>
    <script src="/docs/start.js"></script>
  </body>
</html>
`;

/** `validatorUrl: null` prevents a request to the validator of swagger.io. */
const DOCS_SCRIPT = `SwaggerUIBundle({
  url: '/openapi.json',
  dom_id: '#document',
  deepLinking: true,
  docExpansion: 'list',
  defaultModelsExpandDepth: 0,
  validatorUrl: null,
  presets: [SwaggerUIBundle.presets.apis],
  layout: 'BaseLayout',
});
`;

/** The build of src/web. */
const WEB_DIRECTORY = fileURLToPath(
  new URL(import.meta.url.endsWith('.ts') ? '../../../dist/web/' : '../../web/', import.meta.url),
);
/** Names of the build contain a digest of the file, except those of src/web/public. */
const NAME_WITH_DIGEST = /-[\w-]{8}\.(js|css|json)$/;
const YEAR_S = 31_536_000;

const pagePolicy = (connectTo: string): string =>
  [
    "default-src 'none'",
    "script-src 'self'",
    "style-src 'self'",
    "img-src 'self' blob: data:",
    "manifest-src 'self'",
    `connect-src ${connectTo}`,
    "base-uri 'none'",
    "form-action 'none'",
    "frame-ancestors 'none'",
    "require-trusted-types-for 'script'",
  ].join('; ');
const DEVICE_POLICY = pagePolicy("'self'");
/** The operator of a fleet types the address of the broker. */
const FLEET_POLICY = pagePolicy("'self' ws: wss:");

/** `GET /`: describes the agent to a program that finds the port, and shows the device page to a person. */
export const rootRoutes: Routes = (app, { version }) => {
  const files = new StaticFiles({
    root: WEB_DIRECTORY,
    prefix: '/',
    preCompressed: true,
    cacheControl: false,
  });
  const { root, fleetPage, pageFile } = PAGE_OPERATIONS;
  const sendPage = async (
    name: string,
    policy: string,
    request: FastifyRequest,
    reply: FastifyReply,
  ): Promise<FastifyReply> => {
    if (!(await findPageFiles()).has(name))
      throw new AgentError('request_not_found', 'the pages are not built');
    return files.send(request, setPageHeaders(reply, policy));
  };
  addRoute(app, root, ({ request }, reply) => {
    addVary(reply, 'Accept');
    if (acceptsPage(request)) return sendPage('index.html', DEVICE_POLICY, request, reply);
    return {
      name: 'swellsight' as const,
      version,
      about: 'An edge agent that reads wave heights from a fixed surf camera.',
      docs: '/docs',
      openapi: '/openapi.json',
      paths: [...new Set(Object.values(OPERATIONS).map(({ path }) => path))],
    };
  });
  addRoute(app, fleetPage, ({ request }, reply) => sendPage('fleet.html', FLEET_POLICY, request, reply));
  addRoute(app, pageFile, async ({ params, request }, reply) => {
    if (!(await findPageFiles()).has(`assets/${params.file}`))
      throw new AgentError('request_not_found', 'this path does not exist');
    const lifetime = NAME_WITH_DIGEST.test(params.file)
      ? `public, max-age=${String(YEAR_S)}, immutable`
      : 'no-cache';
    return files.send(request, reply.header('cache-control', lifetime));
  });
  app.addHook('onClose', () => files.close());
};

/** The files of the build, below its directory; none before a build. */
async function findPageFiles(): Promise<ReadonlySet<string>> {
  const names = await readdir(WEB_DIRECTORY, { recursive: true }).catch(() => []);
  return new Set(names.filter((name) => !/\.(br|gz)$/.test(name)));
}

function setPageHeaders(reply: FastifyReply, policy: string): FastifyReply {
  return reply.headers({
    'cache-control': 'no-cache',
    'content-security-policy': policy,
    'cross-origin-opener-policy': 'same-origin',
    'permissions-policy': 'camera=(), microphone=(), geolocation=(), payment=(), usb=()',
  });
}

/** The OpenAPI document, and a page that shows it. */
export const docsRoutes: Routes = (app) => {
  const { openApi, docs, docsFile } = PAGE_OPERATIONS;
  addRoute(app, openApi, async (_request, reply) => {
    // Read the file for each request: requests are rare, and a copy in memory takes 300 kB.
    const file = await open(DOCUMENT);
    return reply.type('application/json; charset=utf-8').send(file.createReadStream());
  });
  addRoute(app, docs, (_request, reply) => reply.type('text/html; charset=utf-8').send(DOCS_PAGE));

  const files = new StaticFiles({
    root: dirname(fileURLToPath(import.meta.resolve('swagger-ui-dist/package.json'))),
    prefix: '/docs/',
    maxAge: SWAGGER_MAX_AGE_MS,
  });
  addRoute(app, docsFile, ({ params, request }, reply) => {
    if (params.file === 'start.js') return reply.type('text/javascript; charset=utf-8').send(DOCS_SCRIPT);
    if (!SWAGGER_FILES.has(params.file))
      throw new AgentError('request_not_found', 'this path does not exist');
    return files.send(request, reply);
  });
  app.addHook('onClose', () => files.close());
};
