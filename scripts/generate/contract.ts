import { asyncApiDocument } from '../../src/contract/emit-asyncapi.ts';
import { identifiedSchemas } from '../../src/contract/emit-schemas.ts';
import { openApiDocument } from '../../src/contract/openapi/emit-openapi.ts';
import { AgentError } from '../../src/base/errors.ts';
import { toProblem } from '../../src/http/problem.ts';
import { Manifest } from '../../src/model/manifest.ts';
import { SESSION_EXPIRY_S } from '../../src/mqtt/link/client-options.ts';
import { DEFAULT_TUNING } from '../../src/mqtt/link/options.ts';

const SCHEMA_DIALECT = 'https://json-schema.org/draft/2020-12/schema';

/** The JSON Schemas of all messages, and the AsyncAPI and OpenAPI documents, by path. */
export function contractFiles(): Record<string, string> {
  const schemas = [...identifiedSchemas()].map(([id, schema]) => [fileName(id), schema] as const);
  const files = [...schemas, ['manifest', Manifest] as const].map(([name, schema]) => [
    `docs/generated/${name}.schema.json`,
    text({ $schema: SCHEMA_DIALECT, ...schema }),
  ]);
  const asyncApi = asyncApiDocument({
    base: 'swellsight/v1',
    keepAliveS: DEFAULT_TUNING.keepAliveS,
    sessionExpiryS: SESSION_EXPIRY_S,
  });
  return {
    ...(Object.fromEntries(files) as Record<string, string>),
    'docs/generated/asyncapi.json': text(asyncApi),
    'docs/generated/openapi.json': text(
      openApiDocument({ problem: (code) => toProblem(new AgentError(code, '')) }),
    ),
  };
}

/** `swellsight.camera_state/1` -> `camera-state`. */
const fileName = (id: string): string =>
  id
    .replace(/^swellsight\./, '')
    .replace(/\/\d+$/, '')
    .replaceAll('_', '-');

const text = (document: object): string => `${JSON.stringify(document, null, 2)}\n`;
