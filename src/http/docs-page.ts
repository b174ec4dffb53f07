/** The page of the document; everything that it loads lies on the agent. */
export const DOCS_PAGE = `<!doctype html>
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
    <noscript>This page needs a script; the document itself is at <a href="/openapi.json">/openapi.json</a>.</noscript>
    <script src="/docs/swagger-ui-bundle.js"></script>
    <script src="/docs/start.js"></script>
  </body>
</html>
`;

/** Without `validatorUrl` it would send the document's address to a server elsewhere. */
export const DOCS_SCRIPT = `SwaggerUIBundle({
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

/** The start page: what answers here. */
export const startPage = (version: string): string => `<!doctype html>
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
