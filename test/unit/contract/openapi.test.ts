import { validate as parse } from '@scalar/openapi-parser';
import { Validator } from '@seriousme/openapi-schema-validator';
import { describe, expect, it } from 'vitest';
import { errorsOf, openApiDocument, OPERATIONS } from '../../../src/contract/openapi/emit-openapi.ts';
import type { Operation } from '../../../src/contract/openapi/operation.ts';
import { AgentError, ERROR_CODES } from '../../../src/base/errors.ts';
import { toProblem } from '../../../src/http/problem.ts';
import { openApi } from '../../fixtures/openapi.ts';

const document = openApiDocument({ problem: (code) => toProblem(new AgentError(code, '')) });
const operations = Object.entries<Operation>(OPERATIONS);

/** The paths that clients rely on. */
const REQUIRED_PATHS = [
  'POST /api/v1/analyze',
  'POST /api/v1/analyze/batch',
  'GET /api/v1/status',
  'GET /api/v1/models/info',
  'POST /api/v1/models/reload',
  'GET /api/v1/observations',
  'GET /api/v1/observations.csv',
  'GET /api/v1/cameras',
  'GET /api/v1/cameras/{id}/latest.jpg',
  'POST /api/v1/cameras/{id}/capture',
  'GET /api/v1/cameras/{id}/labels',
  'POST /api/v1/cameras/{id}/labels',
  'DELETE /api/v1/cameras/{id}/labels',
  'GET /api/v1/cameras/{id}/calibration',
  'PUT /api/v1/cameras/{id}/calibration',
  'GET /api/v1/events',
  'GET /health',
  'GET /health/detailed',
  'GET /ready',
  'GET /live',
  'GET /metrics',
  'GET /',
  'GET /openapi.json',
  'GET /docs',
];

describe('the OpenAPI document', () => {
  it('passes two validators', async () => {
    const validator = new Validator();
    const { valid, errors } = await validator.validate(structuredClone(document));
    expect([valid, errors]).toEqual([true, undefined]);
    expect(validator.version).toBe('3.1');
    const parsed = await parse(structuredClone(document));
    expect([parsed.valid, parsed.errors]).toEqual([true, []]);
  });

  it('equals the checked-in file', () => {
    expect(openApi()).toEqual(JSON.parse(JSON.stringify(document)));
  });

  it('has every required path', () => {
    const paths = operations.map(([, { method, path }]) => `${method} ${path}`);
    expect(paths).toEqual(expect.arrayContaining(REQUIRED_PATHS));
    expect(new Set(paths).size).toBe(paths.length);
  });

  it('lists the parameters of each path, and only existing error codes', () => {
    for (const [id, operation] of operations) {
      const inPath = [...operation.path.matchAll(/\{(\w+)\}/g)].map(([, name]) => name);
      expect([id, Object.keys(operation.params?.properties ?? {})]).toEqual([id, inPath]);
      for (const code of errorsOf(operation)) expect(ERROR_CODES).toHaveProperty(code);
    }
  });

  it('has a unique title for each schema', () => {
    const titles = operations.flatMap(([, { answers, body }]) => [
      ...answers.flatMap(({ schema }) => schema ?? []),
      ...(body ? [body.schema] : []),
    ]);
    const byTitle = new Map<string, unknown>();
    for (const schema of titles) {
      expect(schema.title).toMatch(/^[A-Z]\w+$/);
      const before = byTitle.get(schema.title ?? '') ?? schema;
      expect(schema).toEqual(before);
      byTitle.set(schema.title ?? '', schema);
    }
  });
});
