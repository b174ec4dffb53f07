import { Type } from '@sinclair/typebox';
import { Diagnostics } from '../diagnostics.ts';
import { closed } from '../schema-parts.ts';
import { jsonAnswer, mediaAnswer, operations, STORE_READ_ERRORS } from './operation.ts';
import { About, AgentStatus, Condensed, HealthReport, Live, LogLines, Ready } from './views.ts';

const NOT_MODIFIED = { status: 304, description: 'Not modified.', contentType: null, schema: null } as const;

export const PAGE_OPERATIONS = operations('pages', {
  root: {
    method: 'GET',
    path: '/',
    summary: 'Describes the agent to programs, and shows the device page to browsers.',
    description: 'Browsers get the page without a token, because it contains no data: it asks for the token.',
    answers: [
      jsonAnswer(200, 'For programs.', About),
      mediaAnswer(200, 'For browsers, when `Accept` contains text/html.', 'text/html'),
    ],
  },
  fleetPage: {
    method: 'GET',
    path: '/fleet.html',
    summary: 'Shows the page of a fleet; it connects to a broker by WebSocket.',
    answers: [mediaAnswer(200, 'The page.', 'text/html'), NOT_MODIFIED],
    open: true,
  },
  pageFile: {
    method: 'GET',
    path: '/assets/{file}',
    summary: 'Returns a file of the web pages. They contain no data of the agent.',
    params: Type.Object({ file: Type.String({ maxLength: 128 }) }, closed),
    answers: [
      mediaAnswer(200, 'A script.', 'application/javascript'),
      mediaAnswer(200, 'A script.', 'text/javascript'),
      mediaAnswer(200, 'A style sheet.', 'text/css'),
      mediaAnswer(200, 'An icon.', 'image/svg+xml'),
      mediaAnswer(200, 'An icon.', 'image/png'),
      mediaAnswer(200, 'The manifest.', 'application/manifest+json'),
      mediaAnswer(200, 'Data of a page.', 'application/json'),
      NOT_MODIFIED,
    ],
    errors: ['request_not_found'],
    open: true,
  },
  openApi: {
    method: 'GET',
    path: '/openapi.json',
    summary: 'Returns this document.',
    answers: [mediaAnswer(200, 'OpenAPI 3.1.', 'application/json')],
  },
  docsFile: {
    method: 'GET',
    path: '/docs/{file}',
    summary: 'Returns a file of the page `/docs`.',
    params: Type.Object({ file: Type.String({ maxLength: 64 }) }, closed),
    answers: [
      mediaAnswer(200, 'A script.', 'text/javascript'),
      mediaAnswer(200, 'A style sheet.', 'text/css'),
      mediaAnswer(200, 'An icon.', 'image/png'),
      mediaAnswer(200, 'A script.', 'application/javascript'),
      NOT_MODIFIED,
    ],
    errors: ['request_not_found'],
  },
  docs: {
    method: 'GET',
    path: '/docs',
    summary: 'Shows this document as an HTML page.',
    answers: [mediaAnswer(200, 'The page; its files are below `/docs/`.', 'text/html')],
  },
});

/** The status is 503 for "no", so that a supervisor needs only the status code. */
export const HEALTH_OPERATIONS = operations('health', {
  live: {
    method: 'GET',
    path: '/live',
    summary: 'Tells whether the main loop, the vision process and the schedules make progress.',
    answers: [jsonAnswer(200, 'Live.', Live), jsonAnswer(503, 'Not live.', Live)],
    open: true,
    always: true,
  },
  ready: {
    method: 'GET',
    path: '/ready',
    summary: 'Tells whether a model is loaded and the store is writable.',
    answers: [jsonAnswer(200, 'Ready.', Ready), jsonAnswer(503, 'Not ready.', Ready)],
    open: true,
  },
  health: {
    method: 'GET',
    path: '/health',
    summary: 'Returns the condition: ok, degraded or failed.',
    answers: [
      jsonAnswer(200, 'The condition is ok or degraded.', Condensed),
      jsonAnswer(503, 'The condition is failed.', Condensed),
    ],
  },
  healthDetailed: {
    method: 'GET',
    path: '/health/detailed',
    summary: 'Returns the condition with the newest heartbeat: the state of each part and of the system.',
    answers: [
      jsonAnswer(200, 'The condition is ok or degraded.', HealthReport),
      jsonAnswer(503, 'The condition is failed.', HealthReport),
    ],
  },
  status: {
    method: 'GET',
    path: '/api/v1/status',
    summary: 'Returns the status of the agent.',
    answers: [jsonAnswer(200, 'State, identity, health, model and cameras.', AgentStatus)],
  },
  log: {
    method: 'GET',
    path: '/api/v1/log',
    summary: 'Returns the latest lines of the log, without secrets, oldest first.',
    query: Type.Object({ limit: Type.Integer({ minimum: 1, maximum: 500, default: 500 }) }, closed),
    answers: [jsonAnswer(200, 'Lines of this run. At most 256 KiB are kept.', LogLines)],
  },
  diagnostics: {
    method: 'GET',
    path: '/api/v1/diagnostics',
    summary: 'Returns a report for remote troubleshooting, without secrets.',
    answers: [jsonAnswer(200, 'The result of the command `diagnostics`, in full.', Diagnostics)],
    errors: STORE_READ_ERRORS,
  },
  metrics: {
    method: 'GET',
    path: '/metrics',
    summary: 'Returns metrics for Prometheus; docs/metrics.md lists them.',
    answers: [mediaAnswer(200, 'The text format of Prometheus.', 'text/plain')],
  },
});
