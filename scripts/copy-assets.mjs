// Copies the files that the compiler does not: SQL migrations and the OpenAPI document.
import { cpSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { root } from './setup.mjs';

cpSync(join(root, 'src/store/migrations'), join(root, 'dist/store/migrations'), { recursive: true });
writeFileSync(
  join(root, 'dist/http/openapi.json'),
  JSON.stringify(JSON.parse(readFileSync(join(root, 'docs/generated/openapi.json'), 'utf8'))),
);
