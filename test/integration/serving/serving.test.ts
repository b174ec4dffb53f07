import { cpSync, mkdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, expect, test } from 'vitest';
import { systemClock } from '../../../src/base/clock.ts';
import { ModelServer } from '../../../src/serving/model-server.ts';
import type { EventDraft } from '../../../src/store/types.ts';
import { probeHardware } from '../../../src/vision/hardware/probe.ts';
import { bundleDir, shippedModelsDir, type BundleName } from '../../fixtures/bundles.ts';
import { analyzeOnce } from '../../fixtures/lease.ts';
import { silentLog, tempDir } from '../../fixtures/store.ts';

const closers: (() => Promise<void>)[] = [];
afterEach(async () => {
  for (const close of closers.splice(0)) await close();
});

function serve(active: BundleName | null) {
  const { path: installed, remove } = tempDir();
  if (active) {
    const dir = join(installed, active, '1.0.0');
    mkdirSync(dir, { recursive: true });
    cpSync(bundleDir(active), dir, { recursive: true });
  }
  const events: EventDraft[] = [];
  const bundles: (string | undefined)[] = [];
  const remembered = new Map<string, string>();
  const stop = new AbortController();
  const hardware = probeHardware(stop.signal);
  hardware.catch(() => undefined);
  const serving: ModelServer = new ModelServer(
    {
      model: {
        active: active && `${active}/1.0.0`,
        trustRoot: null,
        repository: null,
        allowUnsigned: true,
        maxKbPerS: null,
        probation: { observations: 1, minutes: 1 },
      },
      inference: { providers: ['cpu'], threads: 1, timeoutS: 30, maxRssMb: 600 },
      shippedDir: shippedModelsDir,
      installedDirs: [installed],
    },
    {
      clock: systemClock,
      log: silentLog,
      memory: {
        get: (key) => remembered.get(key) ?? null,
        set: (key, value) => remembered.set(key, value),
        delete: (key) => remembered.delete(key),
      },
      raise: (event) => events.push(event),
      hardware,
      onBundle: () => bundles.push(serving.model?.name),
    },
  );
  closers.push(async () => {
    stop.abort();
    await serving.close();
    remove();
  });
  return { serving, events, bundles, signal: stop.signal };
}

const FRAME_FILE = join(bundleDir('heads'), 'golden', 'picture-1.png');
const FRAME = { roi: null, privacyMasks: [] };

test('falls back to the shipped bundle, with an event, when the wanted one fails its golden outputs', async () => {
  const { serving, events, bundles, signal } = serve('wrong-golden');
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
  const { serving, signal } = serve(null);
  await serving.open(signal);
  const early = analyzeOnce(serving, readFileSync(FRAME_FILE), FRAME, signal);
  const started = serving.start(signal);
  await expect(early).resolves.toHaveProperty('quality');
  await started;
});

test('a frame that waits for the model rejects when its signal aborts', async () => {
  const { serving, signal } = serve(null);
  await serving.open(signal);
  const gone = new AbortController();
  const early = analyzeOnce(serving, new Uint8Array(1), FRAME, gone.signal);
  gone.abort();
  await expect(early).rejects.toThrow(/abort/i);
});
