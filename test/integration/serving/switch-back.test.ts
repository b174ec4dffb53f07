import { cpSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it, onTestFinished } from 'vitest';
import { AgentError } from '../../../src/base/errors.ts';
import { systemClock } from '../../../src/base/clock.ts';
import { openBundle } from '../../../src/model/bundle/bundle.ts';
import { Installer } from '../../../src/model/install/installer.ts';
import { ModelLifecycle } from '../../../src/model/lifecycle.ts';
import type { SlotStore } from '../../../src/model/slots/slot-store.ts';
import type { InstallRecord, SlotsState } from '../../../src/model/types.ts';
import { bundleDir, factoryBundleDir } from '../../fixtures/bundles.ts';
import { eventually } from '../../fixtures/capture.ts';
import { makeServing } from '../../fixtures/serving.ts';
import { silentLog } from '../../fixtures/store.ts';

/** `depth` is on probation and `heads` is the former model. The slots go back to `heads` while `depth` starts. */
async function sentBack() {
  const made = await makeServing({ slots: { active: 'depth', previous: 'heads' } });
  const { serving, events, bundleOf, signal } = made;
  const { active, previous } = made.state;
  if (active === null || previous === null) throw new Error('both slots are filled');
  const install: InstallRecord = {
    updateId: '11111111-1111-4111-8111-111111111111',
    ...{ name: active.name, version: active.version, digest: active.digest },
    source: { kind: 'repository' },
    ...{ phase: 'probation', reason: null, startedAtMs: 1, phaseAtMs: 1, bytes: 1, totalBytes: 1 },
    ...{ candidate: active, trusted: true, shadow: null },
    probation: { answers: 0, failures: 0, failedStarts: 0 },
    former: { active: previous, previous: null },
  };
  let state: SlotsState = { ...made.state, install };
  const slots = {
    get state() {
      return state;
    },
    damaged: null,
    update: (change: (before: SlotsState) => SlotsState) => (state = change(state)),
    bundleDir: bundleOf,
    collect: () => Promise.resolve(),
  } as unknown as SlotStore;
  const factory = await openBundle(factoryBundleDir);
  const raise = made.events.push.bind(events);
  const common = { clock: systemClock, log: silentLog, raise };
  const settings = { active: null, repository: null, trustRoot: null, allowUnsigned: false };
  const { name, version } = factory.manifest;
  const installer = new Installer(
    { factory: { ref: { name, version, digest: factory.digest }, dir: factoryBundleDir }, settings },
    {
      ...common,
      slots,
      fetcher: {
        download: () => Promise.reject(new Error('not used')),
        verify: () => Promise.reject(new Error('not used')),
      } as never,
      host: serving,
      openBundle,
      liveSettings: () => ({ probation: { observations: 1, minutes: 1 }, maxKbPerS: null }),
      syncedNowMs: () => null,
      forecast: () => Promise.resolve([]),
      onState: () => undefined,
      onProgress: () => undefined,
    },
  );
  const lifecycle = new ModelLifecycle(
    { model: { ...settings, maxKbPerS: null, probation: { observations: 1, minutes: 1 } } },
    { ...common, memory: null as never, slots, installer, server: serving, onChanged: () => undefined },
  );
  await serving.open(signal);
  const crash = new AgentError('vision_crashed', 'the board was overloaded');
  for (let count = 0; count < 3; count += 1) lifecycle.startFailed(crash, false);
  expect(state).toMatchObject({ active: { name: 'heads' }, install: { phase: 'rolled_back' } });
  return { ...made, lifecycle, former: bundleOf(previous.digest) };
}

describe('a model that starts after the slots have gone back to the former one', () => {
  it('is replaced, also when the former model cannot be opened at first; the state shows what runs', async () => {
    const { lifecycle, serving, events, former, signal } = await sentBack();
    writeFileSync(join(former, 'analysis.onnx'), 'rot');
    let isDone = false;
    const serves = lifecycle.serve(signal).then(() => (isDone = true));
    onTestFinished(() => void serves.catch(() => undefined));
    await eventually('an event', () => events.some(({ type }) => type === 'model_fallback'), 60_000);
    expect(events.at(-1)).toMatchObject({
      code: 'model_digest_mismatch',
      context: { serves: 'depth/1.0.0' },
    });
    expect([serving.model?.name, lifecycle.state().active?.name, isDone]).toEqual(['depth', 'depth', false]);
    cpSync(join(bundleDir('heads'), 'analysis.onnx'), join(former, 'analysis.onnx'));
    await serves;
    expect([serving.model?.name, lifecycle.state().active?.name]).toEqual(['heads', 'heads']);
    expect(events.filter(({ type }) => type === 'model_fallback')).toHaveLength(1);
  });
});
