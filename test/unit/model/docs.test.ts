import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import JSON5 from 'json5';
import { expect, it } from 'vitest';
import { bundleDir } from '../../fixtures/bundles.ts';

const text = readFileSync(join(import.meta.dirname, '../../../docs/model-bundle.md'), 'utf8');

it('docs/model-bundle.md shows the manifest of a tested bundle', () => {
  const [, example = ''] = /```jsonc\n(.*?)```/s.exec(text) ?? [];
  const manifest: unknown = JSON.parse(readFileSync(join(bundleDir('heads'), 'model.json'), 'utf8'));
  expect(JSON5.parse(example)).toEqual(manifest);
  // Without its comments it must be JSON.
  expect(JSON.parse(example.replaceAll(/ ?\/\/.*$/gm, ''))).toEqual(manifest);
});
