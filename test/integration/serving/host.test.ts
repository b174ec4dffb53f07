import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { openBundle } from '../../../src/model/bundle/bundle.ts';
import type { Candidate, LiveFrame } from '../../../src/model/types.ts';
import type { FrameOptions } from '../../../src/vision/protocol.ts';
import { bundleDir, shippedModelsDir } from '../../fixtures/bundles.ts';
import { childPids, isGone } from '../../fixtures/children.ts';
import { analyzeOnce } from '../../fixtures/lease.ts';
import { solid } from '../../fixtures/png.ts';
import { makeServing } from '../../fixtures/serving.ts';

const FRAME: FrameOptions = { roi: null, privacyMasks: [], ignoreGate: true };
const SCHEDULED: FrameOptions = { ...FRAME, priority: 'schedule' };
const image = readFileSync(join(bundleDir('heads'), 'golden', 'picture-1.png'));
const red = await solid('#ff0000');
const blue = await solid('#0000ff');

async function running(...given: Parameters<typeof makeServing>) {
  const made = await makeServing(...given);
  await made.serving.open(made.signal);
  await made.serving.start(made.signal);
  return made;
}

describe('a candidate', () => {
  it('is proved while another model serves, answers, and replaces it between two frames', async () => {
    const { serving, signal, bundles, events } = await running();
    const factoryPid = serving.pid ?? 0;
    const live: LiveFrame[] = [];
    serving.onLiveFrame((frame) => live.push(frame));
    const heads = await openBundle(bundleDir('heads'));
    const steps: string[] = [];
    const candidate = await serving.prove(heads, signal, ({ provider }) => steps.push(provider));
    expect(steps).toContain('cpu');
    expect(candidate.report?.provider).toBe('cpu');
    expect(serving.model?.name).toBe('swellsight-factory');
    expect((await candidate.analyze(blue, FRAME)).heads?.waveHeight?.heightM).toBeCloseTo(4 / 3, 2);
    const candidatePid = candidate.pid ?? 0;

    const before = [1, 2, 3].map(() => analyzeOnce(serving, image, SCHEDULED));
    const adopting = serving.adopt(candidate, 'active', true);
    const meanwhile = [1, 2, 3].map(() => analyzeOnce(serving, image, SCHEDULED));
    expect((await Promise.all([...before, ...meanwhile])).every(({ heads }) => heads !== null)).toBe(true);
    await adopting;
    expect(live).toHaveLength(6);
    expect(serving.model).toMatchObject({ name: 'heads', digest: heads.digest });
    expect(bundles).toEqual(['heads']);
    expect((await analyzeOnce(serving, blue, FRAME)).heads?.waveHeight?.heightM).toBeCloseTo(4 / 3, 2);
    expect([isGone(factoryPid), isGone(candidatePid), isGone(serving.pid ?? 0)]).toEqual([true, true, false]);
    expect(events).toEqual([]);
  });

  it('is refused with the reason, and the current model goes on serving', async () => {
    const { serving, signal } = await running();
    const pid = serving.pid;
    await expect(serving.prove(await openBundle(bundleDir('wrong-golden')), signal)).rejects.toMatchObject({
      code: 'model_golden_mismatch',
    });
    expect(serving.pid).toBe(pid);
    await expect(analyzeOnce(serving, image, FRAME)).resolves.toHaveProperty('heads');
  });

  it('is not started when there is too little memory', async () => {
    const { serving, signal } = await running({ deps: { freeMemoryMb: () => Promise.resolve(120) } });
    await expect(serving.prove(await openBundle(bundleDir('heads')), signal)).rejects.toMatchObject({
      code: 'model_out_of_memory',
    });
    await expect(serving.reload(signal)).rejects.toMatchObject({ code: 'model_out_of_memory' });
    expect(serving.model?.name).toBe('swellsight-factory');
  });

  it('has low priority; the process that serves afterwards has normal priority', async () => {
    const { serving, signal } = await running();
    const niceOf = (pid: number | null): number => {
      const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
      return Number(stat.slice(stat.lastIndexOf(')') + 2).split(' ')[16]);
    };
    const candidate = await serving.prove(await openBundle(bundleDir('heads')), signal);
    expect(niceOf(candidate.pid)).toBeGreaterThan(niceOf(serving.pid));
    const rank = niceOf(serving.pid);
    await serving.adopt(candidate, 'active', true);
    expect(niceOf(serving.pid)).toBe(rank);
  });

  it('changes nothing when its start as the serving model fails', async () => {
    const { serving, signal, bundles } = await running();
    const foreign: Candidate = {
      bundle: await openBundle(bundleDir('heads')),
      analyze: () => Promise.reject(new Error('no')),
      close: () => Promise.resolve(),
    };
    await expect(serving.adopt(foreign, 'active', true)).rejects.toMatchObject({ code: 'internal' });
    await expect(serving.prove(foreign.bundle, AbortSignal.abort())).rejects.toThrow(/abort/i);
    expect([serving.model?.name, bundles]).toEqual(['swellsight-factory', []]);
    await expect(analyzeOnce(serving, image, FRAME, signal)).resolves.toHaveProperty('heads');
  });
});

describe('an observation', () => {
  it('is answered by one model, even when another one replaces it meanwhile', async () => {
    const { serving, signal } = await running();
    const factory = { pid: serving.pid ?? 0, model: serving.model };
    const lease = serving.lease();
    const first = await lease.analyze(image, SCHEDULED);
    const candidate = await serving.prove(await openBundle(bundleDir('heads')), signal);
    let done = false;
    const adopting = serving.adopt(candidate, 'active', true).then(() => (done = true));
    await expect.poll(() => serving.model?.name, { timeout: 60_000 }).toBe('heads');
    const second = await lease.analyze(image, SCHEDULED);
    expect(second.heads?.embedding?.length).toBe(first.heads?.embedding?.length);
    expect(lease.model).toEqual(factory.model);
    expect([done, isGone(factory.pid)]).toEqual([false, false]);
    lease[Symbol.dispose]();
    await adopting;
    expect(isGone(factory.pid)).toBe(true);
    const next = serving.lease();
    await next.analyze(image, SCHEDULED);
    expect(next.model?.name).toBe('heads');
    next[Symbol.dispose]();
  });

  it('moves to the new model when the former one dies before it answered a frame', async () => {
    const { serving, signal } = await running();
    const lease = serving.lease();
    const candidate = await serving.prove(await openBundle(bundleDir('heads')), signal);
    process.kill(serving.pid ?? 0, 'SIGKILL');
    await serving.adopt(candidate, 'active', true);
    await lease.analyze(image, SCHEDULED);
    expect(lease.model?.name).toBe('heads');
    lease[Symbol.dispose]();
  });
});

describe('outcomes of frames', () => {
  it('count NaN and timeouts as failures of the model; ignore invalid and rejected images', async () => {
    const { serving, outcomes, signal } = await running({ slots: { active: 'nan-when-red' } });
    await analyzeOnce(serving, blue, FRAME);
    await expect(analyzeOnce(serving, red, FRAME)).rejects.toMatchObject({ code: 'vision_output_invalid' });
    await expect(analyzeOnce(serving, new Uint8Array(9), FRAME)).rejects.toThrow();
    await analyzeOnce(serving, blue, { ...FRAME, ignoreGate: false });
    expect(outcomes.map(({ ok }) => ok)).toEqual([true, false]);
    expect(serving.errorRate01()).toBe(0.5);
    await serving.reload(signal);
    expect(serving.errorRate01()).toBe(0.5);
  });

  it('count a crash between frames, and a crash during a frame once', async () => {
    const { serving, outcomes } = await running({
      slots: { active: 'loop-when-red' },
      inference: { timeoutS: 2 },
    });
    process.kill(serving.pid ?? 0, 'SIGKILL');
    await expect.poll(() => outcomes.length, { timeout: 5000 }).toBe(1);
    await analyzeOnce(serving, blue, FRAME);
    await expect(analyzeOnce(serving, red, FRAME)).rejects.toMatchObject({ code: 'vision_timeout' });
    expect(outcomes.map((outcome) => (outcome.ok ? 'ok' : outcome.error.code))).toEqual([
      'vision_crashed',
      'ok',
      'vision_timeout',
    ]);
  });
});

describe('swap after swap', () => {
  it('loses no frame, keeps their order, and leaves no process behind', async () => {
    const { serving, signal, bundles, events } = await running();
    const bundlesInTurn = [
      await openBundle(bundleDir('heads')),
      await openBundle(join(shippedModelsDir, 'swellsight-factory', '1.0.0')),
    ];
    const answered: { frame: number; model: string | undefined }[] = [];
    const seenPids = new Set<number>();
    const done = new AbortController();
    const analysing = (async () => {
      for (let frame = 0; !done.signal.aborted; frame += 1) {
        const lease = serving.lease();
        seenPids.add(serving.pid ?? 0);
        await Promise.all([lease.analyze(image, SCHEDULED), lease.analyze(blue, SCHEDULED)]);
        answered.push({ frame, model: lease.model?.name });
        lease[Symbol.dispose]();
      }
    })();
    for (let swap = 0; swap < 3; swap += 1) {
      const next = bundlesInTurn[swap % 2];
      if (next) await serving.adopt(await serving.prove(next, signal), 'active', true);
    }
    done.abort();
    await analysing;
    expect(answered.map(({ frame }) => frame)).toEqual(answered.map((_, index) => index));
    const turns = answered.map(({ model }) => model).filter((model, at, all) => model !== all[at - 1]);
    expect(turns.length).toBeLessThanOrEqual(4);
    expect(bundles).toEqual(['heads', 'swellsight-factory', 'heads']);
    seenPids.delete(serving.pid ?? 0);
    expect([...seenPids].every(isGone)).toBe(true);
    expect(childPids('vision/child/process')).toEqual([serving.pid]);
    expect(events).toEqual([]);
  });
});

describe('the start', () => {
  it('opens the active slot, falls back to the previous one when files have changed, and reports it', async () => {
    const { serving, signal, events, failedStarts, state, bundleOf } = await makeServing({
      slots: { active: 'depth', previous: 'heads' },
    });
    await serving.open(signal);
    expect([serving.model?.name, serving.trusted]).toEqual(['depth', true]);
    writeFileSync(join(bundleOf(state.active?.digest ?? ''), 'analysis.onnx'), 'rot');
    await serving.open(signal);
    expect([serving.model?.name, serving.trusted]).toEqual(['heads', true]);
    expect(failedStarts).toEqual([{ code: 'model_digest_mismatch', fellBack: true }]);
    expect(events).toMatchObject([{ type: 'model_fallback', code: 'model_digest_mismatch' }]);
  });

  it('falls back from an active model that cannot run to the previous one, and then to the shipped one', async () => {
    const { serving, signal, bundles, failedStarts } = await running({
      slots: { active: 'wrong-golden', previous: 'nan' },
    });
    expect(serving.model?.name).toBe('swellsight-factory');
    expect(bundles).toEqual(['nan', 'swellsight-factory']);
    expect(failedStarts).toEqual([{ code: 'model_golden_mismatch', fellBack: true }]);
    await expect(analyzeOnce(serving, image, FRAME, signal)).resolves.toHaveProperty('heads');
  });

  it('keeps to the pinned model, and refuses an unsigned one', async () => {
    const slots = { active: 'depth', previous: 'heads' } as const;
    const pinned = await makeServing({ slots, model: { active: 'heads/1.0.0' } });
    await pinned.serving.open(pinned.signal);
    expect([pinned.serving.model?.name, pinned.serving.trusted]).toEqual(['heads', true]);
    const unsigned = await makeServing({ slots, trusted: false, model: { active: 'heads/1.0.0' } });
    await unsigned.serving.open(unsigned.signal);
    expect(unsigned.serving.model?.name).toBe('swellsight-factory');
    expect(unsigned.events).toMatchObject([{ code: 'model_unsigned', context: { wanted: 'heads/1.0.0' } }]);
    const allowed = await makeServing({ slots, trusted: false, model: { allowUnsigned: true } });
    await allowed.serving.open(allowed.signal);
    expect([allowed.serving.model?.name, allowed.serving.trusted]).toEqual(['depth', false]);
  });
});

describe('reload', () => {
  it('replaces the process and loses no request', async () => {
    const { serving, signal, bundles } = await running();
    const before = serving.pid ?? 0;
    const asked = [1, 2, 3, 4].map(() => analyzeOnce(serving, image, FRAME));
    const reloaded = serving.reload(signal);
    asked.push(analyzeOnce(serving, image, FRAME));
    expect((await Promise.all(asked)).every(({ heads }) => heads !== null)).toBe(true);
    expect((await reloaded).name).toBe('swellsight-factory');
    expect(serving.pid).not.toBe(before);
    expect(isGone(before)).toBe(true);
    expect(bundles).toEqual([]);
  });
});
