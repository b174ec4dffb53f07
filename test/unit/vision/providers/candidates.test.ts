import { describe, expect, it } from 'vitest';
import { UNKNOWN_BOARD } from '../../../../src/vision/hardware/board.ts';
import type { Hardware } from '../../../../src/vision/hardware/hardware.ts';
import {
  choosePlan,
  explainAttempts,
  initialThreads,
  listCandidates,
  threadCounts,
  type TrialRecord,
} from '../../../../src/vision/providers/candidates.ts';

const PC: Hardware = {
  kind: 'nvidia_x86',
  arch: 'x64',
  model: null,
  cpu: null,
  cores: 8,
  memoryMb: 16_000,
  board: UNKNOWN_BOARD,
  pageSizeBytes: 4096,
  accelerators: [],
  os: null,
  fingerprint: 'one',
};
const NPM_X64 = ['cpu', 'webgpu', 'cuda', 'tensorrt'];

const right = (provider: string, threads: number, medianMs: number): TrialRecord => ({
  provider,
  threads,
  outcome: 'right',
  medianMs,
  reason: null,
});
const failed = (provider: string, reason: string): TrialRecord => ({
  provider,
  threads: 1,
  outcome: 'unavailable',
  medianMs: null,
  reason,
});
const all = (...providers: string[]): ReturnType<typeof listCandidates> => ({
  providers,
  rule: 'fastest',
  excluded: [],
});

describe('listCandidates', () => {
  it('puts the most promising provider of the hardware first and the CPU last', () => {
    expect(listCandidates('auto', PC, NPM_X64, undefined)).toEqual({
      providers: ['tensorrt', 'cuda', 'webgpu', 'cpu'],
      rule: 'fastest',
      excluded: [],
    });
    expect(listCandidates('auto', { ...PC, kind: 'cpu' }, NPM_X64, undefined).providers).toEqual([
      'webgpu',
      'cuda',
      'tensorrt',
      'cpu',
    ]);
  });

  it('lists the providers that the npm package lacks on a Jetson', () => {
    const { providers, excluded } = listCandidates('auto', { ...PC, kind: 'jetson' }, ['cpu'], undefined);
    expect(providers).toEqual(['cpu']);
    expect(excluded.map(({ provider, outcome }) => [provider, outcome])).toEqual([
      ['tensorrt', 'not_built_in'],
      ['cuda', 'not_built_in'],
    ]);
    expect(excluded[0]?.reason).toContain('JetPack');
  });

  it('keeps the order of a list, without repetitions, and accepts the names of the Python API', () => {
    const list = ['CUDAExecutionProvider', 'cpu', 'cuda', 'CPUExecutionProvider'];
    expect(listCandidates(list, PC, NPM_X64, undefined)).toMatchObject({
      providers: ['cuda', 'cpu'],
      rule: 'ordered',
    });
  });

  it('excludes the providers that the model does not support, with the reason', () => {
    const narrowed = listCandidates('auto', PC, NPM_X64, ['CUDAExecutionProvider']);
    expect(narrowed.providers).toEqual(['cuda']);
    expect(narrowed.excluded.map((one) => one.reason)).toEqual(Array(3).fill('the model requires cuda'));
  });

  it('excludes nothing as missing before the build is known', () => {
    expect(listCandidates(['nnapi', 'cpu'], PC, null, undefined).providers).toEqual(['nnapi', 'cpu']);
    expect(listCandidates(['nnapi', 'cpu'], PC, NPM_X64, undefined)).toMatchObject({
      providers: ['cpu'],
      excluded: [{ provider: 'nnapi', outcome: 'not_built_in' }],
    });
  });
});

describe('threadCounts and initialThreads', () => {
  it('returns few counts, ascending, at most the number of cores', () => {
    expect(threadCounts('auto', 1)).toEqual([1]);
    expect(threadCounts('auto', 2)).toEqual([1, 2]);
    expect(threadCounts('auto', 3)).toEqual([1, 2, 3]);
    expect(threadCounts('auto', 8)).toEqual([1, 2, 4, 8]);
    expect(threadCounts(3, 8)).toEqual([3]);
  });

  it('starts with one or two threads', () => {
    expect([1, 2, 3, 4, 16].map((cores) => initialThreads('auto', cores))).toEqual([1, 1, 1, 2, 2]);
    expect(initialThreads(6, 2)).toBe(6);
  });
});

describe('choosePlan', () => {
  it('chooses the fastest provider with right results', () => {
    const tried = [right('cpu', 2, 20), right('cuda', 2, 3), failed('tensorrt', 'no library')];
    expect(choosePlan(tried, all('tensorrt', 'cuda', 'cpu'), new Map())).toEqual({
      provider: 'cuda',
      threads: 2,
    });
  });

  it('chooses more threads only if they are at least 15% faster', () => {
    const tried = [right('cpu', 4, 8.4), right('cpu', 1, 20), right('cpu', 2, 9)];
    expect(choosePlan(tried, all('cpu'), new Map())).toEqual({ provider: 'cpu', threads: 2 });
    expect(choosePlan([right('cpu', 1, 10), right('cpu', 2, 8.6)], all('cpu'), new Map())?.threads).toBe(1);
    expect(choosePlan([right('cpu', 1, 10), right('cpu', 2, 8.4)], all('cpu'), new Map())?.threads).toBe(2);
  });

  it('skips demoted providers, and returns null if no result was right', () => {
    const tried = [right('cpu', 1, 20), right('cuda', 1, 3)];
    expect(choosePlan(tried, all('cuda', 'cpu'), new Map([['cuda', '']]))?.provider).toBe('cpu');
    expect(
      choosePlan(
        tried,
        all('cuda', 'cpu'),
        new Map([
          ['cuda', ''],
          ['cpu', ''],
        ]),
      ),
    ).toBeNull();
    expect(choosePlan([failed('cpu', 'x')], all('cpu'), new Map())).toBeNull();
  });

  it('keeps the order of a list even if a later provider is faster', () => {
    const tried = [right('webgpu', 1, 500), right('cpu', 1, 5)];
    const ordered = { ...all('webgpu', 'cpu'), rule: 'ordered' as const };
    expect(choosePlan(tried, ordered, new Map())?.provider).toBe('webgpu');
  });
});

describe('explainAttempts', () => {
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
    const attempts = explainAttempts(
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

  it('says why the rest of a list was not tried', () => {
    const ordered = { ...all('cpu', 'webgpu'), rule: 'ordered' as const };
    const attempts = explainAttempts(
      [right('cpu', 1, 10)],
      ordered,
      { provider: 'cpu', threads: 1 },
      new Map(),
    );
    expect(attempts[1]).toMatchObject({ outcome: 'not_tried', reason: 'cpu comes first in the list' });
  });
});
