import { open } from 'node:fs/promises';
import { dirname } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { FastifyInstance } from 'fastify';
import { OPERATIONS } from '../../contract/openapi/emit-openapi.ts';
import { PAGE_OPERATIONS } from '../../contract/openapi/health-operations.ts';
import { AgentError } from '../../base/errors.ts';
import { addVary } from '../response-headers.ts';
import { addRoute, takeOverResponse, type Routes } from '../route.ts';

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

const startPage = (version: string): string => `<!doctype html>
<html lang="en">
  <head>
    <meta charset="utf-8" />
    <meta name="viewport" content="width=device-width, initial-scale=1" />
    <title>SwellSight Edge</title>
  </head>
  <body>
    <h1>SwellSight Edge ${version}</h1>
    <p>An edge agent that reads wave heights from a fixed surf camera.</p>
    <ul>
      <li><a href="/docs">The HTTP API</a>, and <a href="/openapi.json">its document</a></li>
      <li><a href="/health/detailed">Health</a>, <a href="/api/v1/status">status</a>, <a href="/metrics">metrics</a></li>
      <li><a href="/api/v1/cameras">Cameras</a>, <a href="/api/v1/observations">observations</a></li>
    </ul>
  </body>
</html>
`;

/** `GET /`: describes the agent to a person or a program that finds the port. */
export const rootRoutes: Routes = (app, { version }) => {
  addRoute(app, PAGE_OPERATIONS.root, ({ request }, reply) => {
    addVary(reply, 'Accept');
    // Only browsers list text/html.
    if (/\btext\/html\b/i.test(request.headers.accept ?? ''))
      return reply.type('text/html; charset=utf-8').send(startPage(version));
    return {
      name: 'swellsight' as const,
      version,
      about: 'An edge agent that reads wave heights from a fixed surf camera.',
      docs: '/docs',
      openapi: '/openapi.json',
      paths: [...new Set(Object.values(OPERATIONS).map(({ path }) => path))],
    };
  });
};

/** The OpenAPI document, and a page that shows it. */
export const docsRoutes: Routes = (app) => {
  const { openApi, docs, docsFile } = PAGE_OPERATIONS;
  addRoute(app, openApi, async (_request, reply) => {
    // Read the file for each request: requests are rare, and a copy in memory takes 300 kB.
    const file = await open(DOCUMENT);
    return reply.type('application/json; charset=utf-8').send(file.createReadStream());
  });
  addRoute(app, docs, (_request, reply) => reply.type('text/html; charset=utf-8').send(DOCS_PAGE));

  // Load @fastify/static with the first request: most agents never need it.
  let opening: Promise<FastifyInstance> | null = null;
  addRoute(app, docsFile, async ({ params, request }, reply) => {
    if (params.file === 'start.js') return reply.type('text/javascript; charset=utf-8').send(DOCS_SCRIPT);
    if (!SWAGGER_FILES.has(params.file))
      throw new AgentError('request_not_found', 'this path does not exist');
    opening ??= openFileServer().catch((thrown: unknown) => {
      opening = null;
      throw thrown;
    });
    const fileServer = await opening;
    fileServer.routing(request.raw, takeOverResponse(reply));
    return reply;
  });
  app.addHook('onClose', async () => (await opening)?.close());
};

async function openFileServer(): Promise<FastifyInstance> {
  const [{ fastify }, { default: staticFiles }] = await Promise.all([
    import('fastify'),
    import('@fastify/static'),
  ]);
  const app = fastify({ logger: false });
  await app.register(staticFiles, {
    root: dirname(fileURLToPath(import.meta.resolve('swagger-ui-dist/package.json'))),
    prefix: '/docs/',
    index: false,
    acceptRanges: false,
    maxAge: SWAGGER_MAX_AGE_MS,
  });
  await app.ready();
  return app;
}
