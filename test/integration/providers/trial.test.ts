import type { ChildProcess } from 'node:child_process';
import { subscribe, unsubscribe } from 'node:diagnostics_channel';
import { once } from 'node:events';
import { readdirSync, readFileSync, realpathSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { openBundle } from '../../../src/model/bundle/bundle.ts';
import { createTrialRunner } from '../../../src/vision/providers/run-trial.ts';
import type { TrialResult } from '../../../src/vision/providers/trial.ts';
import { bundleDir, type BundleName } from '../../fixtures/bundles.ts';
import { childPids, isGone } from '../../fixtures/children.ts';
import { softwareGpu } from '../../fixtures/software-gpu.ts';
import { tempDir } from '../../fixtures/store.ts';

const never = new AbortController().signal;
/** A library of glibc that Node does not load by itself. */
const preloadable = [`/lib/x86_64-linux-gnu`, `/lib/aarch64-linux-gnu`]
  .map((directory) => realPath(`${directory}/libanl.so.1`))
  .find((path) => path !== null);

function realPath(path: string): string | null {
  try {
    return realpathSync(path);
  } catch {
    return null;
  }
}

async function attempt(
  name: BundleName,
  provider: string,
  options: { timeoutMs?: number; maxRssMb?: number; signal?: AbortSignal } = {},
): Promise<TrialResult> {
  const { timeoutMs = 60_000, maxRssMb = 1024 } = options;
  const bundle = await openBundle(bundleDir(name));
  const run = createTrialRunner({ timeoutMs, maxRssMb });
  return run({ bundle, provider, threads: 1, runs: 5 }, options.signal ?? never);
}

/**
 * Waits until the next trial process has sent its runtime and runs the endless loop of its model. Returns its process id.
 * On a slow machine the start alone takes more CPU time than the loop has taken by then.
 */
async function busyTrial(): Promise<number> {
  const child = await nextChild();
  await once(child, 'message');
  const pid = child.pid ?? 0;
  const ticksAtRuntime = cpuTicks(pid);
  await vi.waitUntil(() => cpuTicks(pid) > ticksAtRuntime + 50, { timeout: 60_000, interval: 50 });
  return pid;
}

/** The next child process that this process starts. */
function nextChild(): Promise<ChildProcess> {
  return new Promise((resolve) => {
    const handleChild = (message: unknown): void => {
      unsubscribe('child_process', handleChild);
      resolve((message as { process: ChildProcess }).process);
    };
    subscribe('child_process', handleChild);
  });
}

function cpuTicks(pid: number): number {
  try {
    const fields = readFileSync(`/proc/${pid}/stat`, 'utf8')
      .replace(/^.*\) /s, '')
      .split(' ');
    return Number(fields[11]);
  } catch {
    return 0;
  }
}

let dir: ReturnType<typeof tempDir>;
beforeEach(() => {
  dir = tempDir();
});
afterEach(() => {
  vi.unstubAllEnvs();
  dir.remove();
});

describe('createTrialRunner with the real runtime', () => {
  it('verifies and times a right provider', async () => {
    const { outcome, runtime } = await attempt('heads', 'cpu');
    expect(outcome).toMatchObject({ type: 'right' });
    if (outcome.type === 'right') {
      expect(outcome.medianMs).toBeGreaterThan(0);
      expect(outcome.runs).toBe(5);
    }
    expect(runtime?.backends).toContain('cpu');
    expect(runtime?.version).toMatch(/^\d+\.\d+/);
  });

  it('verifies a bundle with several stages', async () => {
    expect((await attempt('depth', 'cpu')).outcome.type).toBe('right');
  });

  it('finds wrong results and reports the difference', async () => {
    expect((await attempt('wrong-golden', 'cpu')).outcome).toEqual({
      type: 'wrong',
      reason: 'analysis.height_m is off by 0.500, allowed is 0.001',
    });
    expect((await attempt('nan', 'cpu')).outcome.type).toBe('wrong');
  });

  it('reports a provider that the build does not contain', async () => {
    expect((await attempt('heads', 'nnapi')).outcome).toEqual({
      type: 'not_built_in',
      reason: 'the installed onnxruntime has no nnapi',
    });
  });

  // The package from npm lists CUDA but does not contain its libraries.
  it.runIf(process.arch === 'x64')('reports the missing library for CUDA', async () => {
    const { outcome } = await attempt('heads', 'cuda');
    expect(outcome.type).toBe('unavailable');
    if (outcome.type !== 'right') {
      expect(outcome.reason).toMatch(/libonnxruntime_providers_\w+\.so is missing/);
      expect(outcome.reason).not.toContain('/');
    }
  });

  it.runIf(process.arch === 'x64')('passes TensorRT options that the binding from npm accepts', async () => {
    vi.stubEnv('ORT_TENSORRT_CACHE_PATH', dir.path);
    const { outcome } = await attempt('heads', 'tensorrt');
    expect(outcome.type).toBe('unavailable');
    if (outcome.type !== 'right')
      expect(outcome.reason).toMatch(/libonnxruntime_providers_\w+\.so is missing/);
    expect(readdirSync(dir.path)).toHaveLength(1);
  });

  it.runIf(process.arch === 'x64')('reports a broken GPU driver', async () => {
    const broken = join(dir.path, 'driver.json');
    writeFileSync(broken, '{"ICD":{"library_path":"/nowhere/libvulkan_gone.so","api_version":"1.3.0"}}');
    vi.stubEnv('VK_DRIVER_FILES', broken);
    vi.stubEnv('VK_ICD_FILENAMES', broken);
    const { outcome } = await attempt('heads', 'webgpu');
    expect(outcome.type).toBe('unavailable');
    if (outcome.type !== 'right') expect(outcome.reason).toContain('Failed to get a WebGPU adapter');
  });

  it.runIf(softwareGpu)('verifies WebGPU on a software driver (needs the package chromium)', async () => {
    for (const [name, value] of Object.entries(softwareGpu ?? {})) vi.stubEnv(name, value);
    expect((await attempt('depth', 'webgpu')).outcome).toMatchObject({ type: 'right' });
    expect((await attempt('wrong-golden', 'webgpu')).outcome.type).toBe('wrong');
  });

  it.runIf(softwareGpu)(
    'adds the memory of the provider to the limit (needs the package chromium)',
    async () => {
      for (const [name, value] of Object.entries(softwareGpu ?? {})) vi.stubEnv(name, value);
      expect((await attempt('heads', 'cpu', { maxRssMb: 64 })).outcome.type).toBe('too_big');
      expect((await attempt('heads', 'webgpu', { maxRssMb: 64 })).outcome.type).toBe('right');
    },
  );

  it.runIf(preloadable)('runs the trial with the libraries of LD_PRELOAD', async () => {
    vi.stubEnv('LD_PRELOAD', preloadable ?? '');
    const trial = attempt('loop', 'cpu');
    const pid = await busyTrial();
    const maps = readFileSync(`/proc/${pid}/maps`, 'utf8');
    process.kill(pid, 'SIGKILL');
    await trial;
    expect(maps).toContain(preloadable);
  });

  it('kills a model with an endless loop', async () => {
    const { outcome } = await attempt('loop', 'cpu', { timeoutMs: 2_000 });
    expect(outcome).toEqual({ type: 'hung', reason: 'no result within 2 s' });
    expect(childPids('providers/trial')).toEqual([]);
  });

  it('kills a model that uses too much memory', async () => {
    const { outcome } = await attempt('big-alloc', 'cpu', { maxRssMb: 400 });
    expect(outcome.type).toBe('too_big');
    if (outcome.type !== 'right') expect(outcome.reason).toMatch(/^used \d+ MB, over the limit of 400 MB$/);
  });

  it.each(['SIGSEGV', 'SIGABRT', 'SIGKILL'] as const)(
    'reports a process that %s ends during a run as crashed',
    async (signal) => {
      const trial = attempt('loop', 'cpu');
      process.kill(await busyTrial(), signal);
      const { outcome, runtime } = await trial;
      expect(outcome.type).toBe('crashed');
      if (outcome.type !== 'right') expect(outcome.reason).toContain(`signal ${signal}`);
      expect(runtime?.backends).toContain('cpu');
    },
  );

  it('reports a process that ends without a message by its exit code and its last line', async () => {
    // With a broken system library the loader does not start the program.
    writeFileSync(join(dir.path, 'libm.so.6'), 'no library');
    vi.stubEnv('LD_LIBRARY_PATH', dir.path);
    const { outcome, runtime } = await attempt('heads', 'cpu');
    expect(runtime).toBeNull();
    expect(outcome.type).toBe('crashed');
    if (outcome.type !== 'right')
      expect(outcome.reason).toMatch(/^the process ended with exit code \d+: .*libm\.so\.6/);
  });

  it('stops at once with the signal, and leaves no process', async () => {
    const stop = new AbortController();
    const trial = attempt('loop', 'cpu', { signal: stop.signal });
    const pid = await busyTrial();
    stop.abort();
    await expect(trial).rejects.toMatchObject({ name: 'AbortError' });
    expect(isGone(pid)).toBe(true);
  });

  it('hides the secrets of the agent from the process, and disables telemetry', async () => {
    vi.stubEnv('SWELLSIGHT_MQTT_PASSWORD', 'a-secret');
    const stop = new AbortController();
    const trial = attempt('loop', 'cpu', { signal: stop.signal });
    const environment = readFileSync(`/proc/${await busyTrial()}/environ`, 'utf8');
    stop.abort();
    await expect(trial).rejects.toThrow();
    expect(environment).not.toContain('a-secret');
    expect(environment.split('\0')).toContain('ORT_DISABLE_TELEMETRY=1');
  });
});
