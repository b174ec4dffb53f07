import { Type } from '@sinclair/typebox';
import { closed } from '../schema-parts.ts';
import { json, other, type Operation } from './operation.ts';
import { About, AgentStatus, Condensed, HealthReport, Live, Ready } from './views.ts';

export const PAGE_OPERATIONS = {
  root: {
    method: 'GET',
    path: '/',
    tag: 'pages',
    summary: 'What this is.',
    answers: [
      json(200, 'For programs.', About),
      other(200, 'For browsers, by what they accept.', 'text/html'),
    ],
    errors: [],
  },
  openApi: {
    method: 'GET',
    path: '/openapi.json',
    tag: 'pages',
    summary: 'This document.',
    answers: [other(200, 'OpenAPI 3.1.', 'application/json')],
    errors: [],
  },
  docsFile: {
    method: 'GET',
    path: '/docs/{file}',
    tag: 'pages',
    summary: 'A part of that page.',
    params: Type.Object({ file: Type.String({ maxLength: 64 }) }, closed),
    answers: [
      other(200, 'A script.', 'text/javascript'),
      other(200, 'A style sheet.', 'text/css'),
      other(200, 'A picture.', 'image/png'),
      other(200, 'A script.', 'application/javascript'),
      { status: 304, description: 'As it is known.', contentType: null, schema: null },
    ],
    errors: ['request_not_found'],
  },
  docs: {
    method: 'GET',
    path: '/docs',
    tag: 'pages',
    summary: 'This document as a page.',
    answers: [other(200, 'The page; its parts lie under `/docs/`.', 'text/html')],
    errors: [],
  },
} as const satisfies Record<string, Operation>;

/** 503 for "no", so that a supervisor needs to look at the status code only. */
export const HEALTH_OPERATIONS = {
  live: {
    method: 'GET',
    path: '/live',
    tag: 'health',
    summary: 'Whether the main loop and the vision process made progress lately.',
    answers: [json(200, 'They did.', Live), json(503, 'They did not.', Live)],
    errors: [],
    open: true,
    always: true,
  },
  ready: {
    method: 'GET',
    path: '/ready',
    tag: 'health',
    summary: 'Whether a model is loaded and the store can be written.',
    answers: [json(200, 'Both.', Ready), json(503, 'Something is missing.', Ready)],
    errors: [],
    open: true,
  },
  health: {
    method: 'GET',
    path: '/health',
    tag: 'health',
    summary: 'Well, degraded or failed.',
    answers: [json(200, 'Well, or degraded.', Condensed), json(503, 'Failed.', Condensed)],
    errors: [],
  },
  healthDetailed: {
    method: 'GET',
    path: '/health/detailed',
    tag: 'health',
    summary: 'The same with the newest heartbeat: each component, and figures of the system.',
    answers: [json(200, 'Well, or degraded.', HealthReport), json(503, 'Failed.', HealthReport)],
    errors: [],
  },
  status: {
    method: 'GET',
    path: '/api/v1/status',
    tag: 'health',
    summary: 'All that the agent says of itself.',
    answers: [json(200, 'Its state, identity, health, model and cameras.', AgentStatus)],
    errors: [],
  },
  metrics: {
    method: 'GET',
    path: '/metrics',
    tag: 'health',
    summary: 'Figures for Prometheus; docs/metrics.md lists them.',
    answers: [other(200, 'The text format.', 'text/plain')],
    errors: [],
  },
} as const satisfies Record<string, Operation>;
