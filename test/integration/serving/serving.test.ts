import { cpSync, mkdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { bundleDir, type BundleName } from '../../fixtures/bundles.ts';
import { analyzeOnce } from '../../fixtures/lease.ts';
import { makeServing } from '../../fixtures/serving.ts';

/** A server whose pinned model an operator copied to the directory of unsigned models. */
async function makePinned(active: BundleName) {
  const model = { active: `${active}/1.0.0`, allowUnsigned: true };
  const made = await makeServing({ model, inference: { timeoutS: 30 } });
  const dir = join(made.path, active, '1.0.0');
  mkdirSync(dir, { recursive: true });
  cpSync(bundleDir(active), dir, { recursive: true });
  return made;
}

const FRAME_FILE = join(bundleDir('heads'), 'golden', 'picture-1.png');
const FRAME = { roi: null, privacyMasks: [] };

test('falls back to the shipped bundle, with an event, when the wanted one fails its golden outputs', async () => {
  const { serving, events, bundles, signal } = await makePinned('wrong-golden');
  await serving.open(signal);
  expect(serving.model?.name).toBe('wrong-golden');
  await serving.start(signal);
  expect(serving.model?.name).toBe('swellsight-factory');
  expect(bundles).toEqual(['swellsight-factory']);
  expect(serving.stats().ready).toBe(true);
  // The wanted bundle is not signed, so `trusted` shows which one serves.
  expect(serving.trusted).toBe(true);
  expect(events.filter(({ type }) => type === 'model_fallback')).toMatchObject([
    { severity: 'error', code: 'model_golden_mismatch', context: { wanted: 'wrong-golden/1.0.0' } },
  ]);
});

test('a frame that comes while the model is loading waits for it', async () => {
  const { serving, signal } = await makeServing({ inference: { timeoutS: 30 } });
  await serving.open(signal);
  const early = analyzeOnce(serving, readFileSync(FRAME_FILE), FRAME, signal);
  const started = serving.start(signal);
  await expect(early).resolves.toHaveProperty('quality');
  await started;
});

test('a frame that waits for the model rejects when its signal aborts', async () => {
  const { serving, signal } = await makeServing({ inference: { timeoutS: 30 } });
  await serving.open(signal);
  const gone = new AbortController();
  const early = analyzeOnce(serving, new Uint8Array(1), FRAME, gone.signal);
  gone.abort();
  await expect(early).rejects.toThrow(/abort/i);
});
