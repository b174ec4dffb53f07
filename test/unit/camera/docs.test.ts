import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import { openCamera } from '../../../src/camera/open.ts';
import { systemClock } from '../../../src/base/clock.ts';
import { loadSettings } from '../../../src/config/load.ts';
import { CAMERA_KINDS } from '../../../src/config/schema.ts';
import { createLog } from '../../../src/base/log.ts';

const text = readFileSync(new URL('../../../docs/cameras.md', import.meta.url), 'utf8');
const snippets = [...text.matchAll(/```json5\n([\s\S]*?)```/g)].map(([, snippet = '']) => snippet);
const directory = mkdtempSync(join(tmpdir(), 'swellsight-docs-'));
for (const name of ['north-camera', 'tower-camera']) writeFileSync(join(directory, name), 'secret\n');
writeFileSync(join(directory, 'beach-headers'), 'X-API-Key: secret\n');
afterAll(() => rmSync(directory, { recursive: true, force: true }));

describe('docs/cameras.md', () => {
  it('has a valid configuration of every kind that the agent opens', async () => {
    const kinds = new Set<string>();
    for (const [index, snippet] of snippets.entries()) {
      const file = join(directory, `${index}.json5`);
      writeFileSync(file, snippet);
      for (const camera of loadSettings({ file, env: {}, cwd: directory }).cameras) {
        kinds.add(camera.kind);
        const opened = await openCamera(camera, { clock: systemClock, log: createLog('silent') });
        expect(opened.id).toBe(camera.id);
        await opened.close();
      }
    }
    expect([...kinds].sort()).toEqual([...CAMERA_KINDS].sort());
  });
});
