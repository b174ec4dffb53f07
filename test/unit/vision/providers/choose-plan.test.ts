import { describe, expect, it } from 'vitest';
import type { Hardware } from '../../../../src/vision/hardware/hardware.ts';
import {
  candidatesFor,
  providerName,
  safeThreads,
  threadCandidates,
} from '../../../../src/vision/providers/candidates.ts';
import { choose, explain, type Tried } from '../../../../src/vision/providers/choose.ts';
import { missingLibrary, reasonLine } from '../../../../src/vision/providers/reason.ts';

const PC: Hardware = {
  kind: 'nvidia_x86',
  arch: 'x64',
  model: null,
  cpu: null,
  cores: 8,
  memoryMb: 16_000,
  accelerators: [],
  os: null,
  fingerprint: 'one',
};
const NPM_X64 = ['cpu', 'webgpu', 'cuda', 'tensorrt'];

const right = (provider: string, threads: number, medianMs: number): Tried => ({
  provider,
  threads,
  outcome: 'right',
  medianMs,
  reason: null,
});
const failed = (provider: string, reason: string): Tried => ({
  provider,
  threads: 1,
  outcome: 'unavailable',
  medianMs: null,
  reason,
});
const all = (...providers: string[]): ReturnType<typeof candidatesFor> => ({
  providers,
  rule: 'fastest',
  excluded: [],
});

describe('candidatesFor', () => {
  it('puts the best hope of the hardware first and the CPU last', () => {
    expect(candidatesFor('auto', PC, NPM_X64, undefined)).toEqual({
      providers: ['tensorrt', 'cuda', 'webgpu', 'cpu'],
      rule: 'fastest',
      excluded: [],
    });
    expect(candidatesFor('auto', { ...PC, kind: 'cpu' }, NPM_X64, undefined).providers).toEqual([
      'webgpu',
      'cuda',
      'tensorrt',
      'cpu',
    ]);
  });

  it('says of a Jetson with the runtime from npm what it lacks', () => {
    const { providers, excluded } = candidatesFor('auto', { ...PC, kind: 'jetson' }, ['cpu'], undefined);
    expect(providers).toEqual(['cpu']);
    expect(excluded.map(({ provider, outcome }) => [provider, outcome])).toEqual([
      ['tensorrt', 'not_built_in'],
      ['cuda', 'not_built_in'],
    ]);
    expect(excluded[0]?.reason).toContain('JetPack');
  });

  it('takes a list in its order, once each, under the names of Python too', () => {
    const list = ['CUDAExecutionProvider', 'cpu', 'cuda', 'CPUExecutionProvider'];
    expect(candidatesFor(list, PC, NPM_X64, undefined)).toMatchObject({
      providers: ['cuda', 'cpu'],
      rule: 'ordered',
    });
    expect(providerName(' WebGpuExecutionProvider ')).toBe('webgpu');
  });

  it('lets a model narrow the choice, and names what it left out', () => {
    const narrowed = candidatesFor('auto', PC, NPM_X64, ['CUDAExecutionProvider']);
    expect(narrowed.providers).toEqual(['cuda']);
    expect(narrowed.excluded.map((one) => one.reason)).toEqual(Array(3).fill('the model asks for cuda'));
  });

  it('counts nothing as missing while the build is not known', () => {
    expect(candidatesFor(['nnapi', 'cpu'], PC, null, undefined).providers).toEqual(['nnapi', 'cpu']);
    expect(candidatesFor(['nnapi', 'cpu'], PC, NPM_X64, undefined)).toMatchObject({
      providers: ['cpu'],
      excluded: [{ provider: 'nnapi', outcome: 'not_built_in' }],
    });
  });
});

describe('threads', () => {
  it('tries few counts, ascending, never more than there are cores', () => {
    expect(threadCandidates('auto', 1)).toEqual([1]);
    expect(threadCandidates('auto', 2)).toEqual([1, 2]);
    expect(threadCandidates('auto', 3)).toEqual([1, 2, 3]);
    expect(threadCandidates('auto', 8)).toEqual([1, 2, 4, 8]);
    expect(threadCandidates(3, 8)).toEqual([3]);
  });

  it('begins mildly', () => {
    expect([1, 2, 3, 4, 16].map((cores) => safeThreads('auto', cores))).toEqual([1, 1, 1, 2, 2]);
    expect(safeThreads(6, 2)).toBe(6);
  });
});

describe('choose', () => {
  it('takes the fastest that is right', () => {
    const tried = [right('cpu', 2, 20), right('cuda', 2, 3), failed('tensorrt', 'no library')];
    expect(choose(tried, all('tensorrt', 'cuda', 'cpu'), new Map())).toEqual({
      provider: 'cuda',
      threads: 2,
    });
  });

  it('takes more threads only for a clear win', () => {
    const tried = [right('cpu', 4, 8.4), right('cpu', 1, 20), right('cpu', 2, 9)];
    expect(choose(tried, all('cpu'), new Map())).toEqual({ provider: 'cpu', threads: 2 });
    expect(choose([right('cpu', 1, 10), right('cpu', 2, 8.6)], all('cpu'), new Map())?.threads).toBe(1);
    expect(choose([right('cpu', 1, 10), right('cpu', 2, 8.4)], all('cpu'), new Map())?.threads).toBe(2);
  });

  it('passes over what is barred, and finds nothing where nothing was right', () => {
    const tried = [right('cpu', 1, 20), right('cuda', 1, 3)];
    expect(choose(tried, all('cuda', 'cpu'), new Map([['cuda', '']]))?.provider).toBe('cpu');
    expect(
      choose(
        tried,
        all('cuda', 'cpu'),
        new Map([
          ['cuda', ''],
          ['cpu', ''],
        ]),
      ),
    ).toBeNull();
    expect(choose([failed('cpu', 'x')], all('cpu'), new Map())).toBeNull();
  });

  it('keeps to the order of a list even when a later one is faster', () => {
    const tried = [right('webgpu', 1, 500), right('cpu', 1, 5)];
    const ordered = { ...all('webgpu', 'cpu'), rule: 'ordered' as const };
    expect(choose(tried, ordered, new Map())?.provider).toBe('webgpu');
  });
});

describe('explain', () => {
  it('gives each attempt its reason', () => {
    const tried = [
      right('cpu', 1, 10),
      right('cpu', 2, 9.5),
      right('webgpu', 1, 450),
      failed('cuda', 'Failed to load shared library'),
    ];
    const candidates = {
      ...all('cuda', 'webgpu', 'coreml', 'cpu'),
      excluded: [{ provider: 'dml', outcome: 'not_built_in' as const, reason: 'no dml' }],
    };
    const attempts = explain(
      tried,
      candidates,
      { provider: 'cpu', threads: 1 },
      new Map([['webgpu', 'crashed']]),
    );
    expect(attempts.map((one) => [one.provider, one.threads, one.outcome, one.reason])).toEqual([
      ['cpu', 1, 'chosen', null],
      ['cpu', 2, 'slower', '9.5 ms against 10.0 ms: not 15% faster than 1 thread'],
      ['webgpu', 1, 'failed', 'demoted: crashed'],
      ['cuda', 1, 'failed', 'Failed to load shared library'],
      ['dml', 1, 'not_built_in', 'no dml'],
      ['coreml', 1, 'not_tried', 'not tried yet'],
    ]);
  });

  it('says of a list why the rest of it was left alone', () => {
    const ordered = { ...all('cpu', 'webgpu'), rule: 'ordered' as const };
    const attempts = explain([right('cpu', 1, 10)], ordered, { provider: 'cpu', threads: 1 }, new Map());
    expect(attempts[1]).toMatchObject({ outcome: 'not_tried', reason: 'cpu stands before it in the list' });
  });
});

describe('reasonLine', () => {
  it('keeps one line, drops folders, keeps the name of a library', () => {
    const text =
      '\u001b[1;31mFailed to load library /opt/app/node_modules/onnxruntime-node/bin/libonnxruntime_providers_cuda.so\n with error: libcudnn.so.9: cannot open /usr/lib/x: No such file\u0000';
    const line = reasonLine(text);
    expect(line).toContain('libonnxruntime_providers_cuda.so');
    expect(line).toContain('libcudnn.so.9');
    expect(line).not.toMatch(/\/|\n|\[1;31m|\0/);
  });

  it('drops Windows paths, positions in sources and empty texts', () => {
    expect(reasonLine('C:\\Users\\kai\\agent\\model.onnx failed')).toBe('… failed');
    expect(
      reasonLine(
        '/onnxruntime_src/core/webgpu_context.cc:136 void f() ok was false. Failed to get a WebGPU adapter',
      ),
    ).toBe('Failed to get a WebGPU adapter');
    expect(reasonLine(' \n')).toBe('no reason given');
  });

  it('is bounded', () => {
    expect(reasonLine('x'.repeat(100_000)).length).toBeLessThanOrEqual(200);
  });
});

describe('missingLibrary', () => {
  it('reads it from what the loader prints', () => {
    expect(
      missingLibrary(
        'Failed to load /a/b.so with error: libcublasLt.so.12: cannot open shared object file: No such',
      ),
    ).toBe('libcublasLt.so.12 is missing');
    expect(missingLibrary('/a/b/libshared.so: cannot open shared object file')).toBe(
      'libshared.so is missing',
    );
    expect(missingLibrary('all is well')).toBeNull();
  });
});
