import { describe, expect, it } from 'vitest';
import { pino } from 'pino';
import type { Settings } from '../../../../src/config/schema.ts';
import type { Bundle } from '../../../../src/model/manifest.ts';
import type { KeyValue } from '../../../../src/store/types.ts';
import { UNKNOWN_BOARD } from '../../../../src/vision/hardware/board.ts';
import type { Hardware } from '../../../../src/vision/hardware/hardware.ts';
import type { TrialOutcome, TrialRequest } from '../../../../src/vision/providers/trial.ts';
import { ProviderLadder } from '../../../../src/vision/providers/select-provider.ts';
import { FakeClock } from '../../../fixtures/fake-clock.ts';
import { MemoryKeyValue } from '../../../fixtures/key-value.ts';

const DAY_MS = 86_400_000;
const hardware: Hardware = {
  kind: 'cpu',
  arch: 'x64',
  model: null,
  cpu: 'test',
  cores: 4,
  memoryMb: 4096,
  board: UNKNOWN_BOARD,
  pageSizeBytes: 4096,
  accelerators: [],
  os: null,
  fingerprint: 'one',
};
const inference: Settings['inference'] = { providers: 'auto', threads: 'auto', timeoutS: 30, maxRssMb: 512 };

const bundle = (requires: Partial<Bundle['manifest']['requires']> = {}, digest = 'sha256:one'): Bundle =>
  ({
    dir: '/nowhere',
    digest,
    embeddingDigest: null,
    manifest: { requires: { agent: '*', ...requires } },
  }) as never;

const right = (medianMs: number): TrialOutcome => ({
  type: 'right',
  medianMs,
  runs: 3,
  openMs: 1,
  firstRunMs: 1,
});

/** Gives each `provider` or `provider/threads` its configured outcome; any other provider is not built in. */
class Machine {
  readonly made: string[] = [];
  outcomes: Record<string, TrialOutcome>;
  backends = ['cpu', 'webgpu', 'cuda'];

  constructor(outcomes: Record<string, TrialOutcome>) {
    this.outcomes = outcomes;
  }

  readonly trial = (request: TrialRequest, signal: AbortSignal): Promise<never> => {
    signal.throwIfAborted();
    this.made.push(`${request.provider}/${request.threads}`);
    const outcome =
      this.outcomes[`${request.provider}/${request.threads}`] ?? this.outcomes[request.provider];
    const absent: TrialOutcome = { type: 'not_built_in', reason: 'no' };
    return Promise.resolve({
      outcome: outcome ?? absent,
      runtime: { version: '1', backends: this.backends },
    } as never);
  };
}

const never = new AbortController().signal;

function ladder(
  machine: Machine,
  memory: KeyValue = new MemoryKeyValue(),
  options: {
    clock?: FakeClock;
    inference?: Partial<Settings['inference']>;
    bundle?: Bundle;
    runtime?: string;
    hardware?: Hardware;
  } = {},
): ProviderLadder {
  return new ProviderLadder(
    {
      bundle: options.bundle ?? bundle(),
      inference: { ...inference, ...options.inference },
      hardware: options.hardware ?? hardware,
    },
    {
      memory,
      clock: options.clock ?? new FakeClock(Date.UTC(2026, 0, 1)),
      log: pino({ level: 'silent' }),
      trial: machine.trial,
      runtime: () => options.runtime ?? '1.0',
    },
  );
}

const FAST_GPU = { cpu: right(20), webgpu: right(400), cuda: right(2) };

describe('ProviderLadder', () => {
  it('starts with the CPU after one trial, then finds the fastest provider', async () => {
    const machine = new Machine(FAST_GPU);
    const subject = ladder(machine);
    expect(subject.report()).toBeNull();
    expect(await subject.first(never)).toEqual({ provider: 'cpu', threads: 2 });
    expect(machine.made).toEqual(['cpu/2']);
    expect(await subject.explore(never)).toEqual({ provider: 'cuda', threads: 1 });
    expect(subject.report()).toMatchObject({ provider: 'cuda', threads: 1, remembered: false });
    expect(
      subject.report()?.attempts.map(({ provider, threads, outcome }) => [provider, threads, outcome]),
    ).toEqual(
      expect.arrayContaining([
        ['cuda', 1, 'chosen'],
        ['webgpu', 1, 'slower'],
        ['cpu', 1, 'slower'],
      ]),
    );
  });

  it('returns null if it finds nothing better, and does not explore again', async () => {
    const machine = new Machine({
      cpu: right(20),
      'cpu/2': right(10),
      'cpu/4': right(9.9),
      webgpu: right(400),
    });
    const subject = ladder(machine);
    expect(await subject.first(never)).toEqual({ provider: 'cpu', threads: 2 });
    expect(await subject.explore(never)).toBeNull();
    const trials = machine.made.length;
    expect(await subject.explore(never)).toBeNull();
    expect(machine.made.length).toBe(trials);
  });

  it('stores its result: the next start makes no trial', async () => {
    const memory = new MemoryKeyValue();
    const before = ladder(new Machine(FAST_GPU), memory);
    await before.first(never);
    await before.explore(never);
    const machine = new Machine(FAST_GPU);
    const after = ladder(machine, memory);
    expect(await after.first(never)).toEqual({ provider: 'cuda', threads: 1 });
    expect(await after.explore(never)).toBeNull();
    expect(machine.made).toEqual([]);
    expect(after.report()).toMatchObject({ provider: 'cuda', remembered: true });
    expect(after.report()?.attempts).toEqual(before.report()?.attempts);
  });

  it.each([
    ['model', { bundle: bundle({}, 'sha256:two') }],
    ['onnxruntime', { runtime: '1.1' }],
    ['hardware', { hardware: { ...hardware, fingerprint: 'two' } }],
    ['settings', { inference: { threads: 1 } }],
  ])('makes new trials for another %s', async (_what, options) => {
    const memory = new MemoryKeyValue();
    const before = ladder(new Machine(FAST_GPU), memory);
    await before.first(never);
    await before.explore(never);
    const machine = new Machine(FAST_GPU);
    await ladder(machine, memory, options).first(never);
    expect(machine.made).toHaveLength(1);
  });

  it('does not store an unfinished selection', async () => {
    const memory = new MemoryKeyValue();
    await ladder(new Machine(FAST_GPU), memory).first(never);
    expect(memory.values.size).toBe(0);
  });

  it.each(['', '{', '[]', '[["k"]]', '[[1,2]]', '{"a":1}', 'null', '[["k",{"plan":{"provider":1}}]]'])(
    'treats damaged memory %j as empty, and replaces it',
    async (damage) => {
      const memory = new MemoryKeyValue();
      memory.set('inference.plans', damage);
      const subject = ladder(new Machine(FAST_GPU), memory);
      await subject.first(never);
      await subject.explore(never);
      expect((await ladder(new Machine({}), memory).first(never)).provider).toBe('cuda');
    },
  );

  it('keeps the findings of eight models', async () => {
    const memory = new MemoryKeyValue();
    for (let index = 0; index < 20; index += 1) {
      const subject = ladder(new Machine(FAST_GPU), memory, { bundle: bundle({}, `sha256:${index}`) });
      await subject.first(never);
      await subject.explore(never);
    }
    expect(memory.values.size).toBe(1);
    expect(JSON.parse([...memory.values.values()][0] ?? '[]')).toHaveLength(8);
  });

  it('measures thread counts twice, and uses the shorter time', async () => {
    const times: Record<string, number[]> = { 'cpu/1': [40, 9], 'cpu/2': [20, 8, 9], 'cpu/4': [8, 30] };
    const machine = new Machine({});
    const trial = (request: TrialRequest): Promise<never> =>
      Promise.resolve({
        outcome: right(times[`${request.provider}/${request.threads}`]?.shift() ?? 1),
        runtime: { version: '1', backends: ['cpu'] },
      } as never);
    const subject = ladder(Object.assign(machine, { trial }));
    await subject.first(never);
    expect(await subject.explore(never)).toEqual({ provider: 'cpu', threads: 1 });
    expect(subject.report()?.attempts.map((one) => one.medianMs)).toEqual([9, 8, 8]);
  });

  it('never chooses a provider with wrong results, even if it is fast', async () => {
    const machine = new Machine({ ...FAST_GPU, cuda: { type: 'wrong', reason: 'off by 0.4' } });
    const subject = ladder(machine);
    await subject.first(never);
    await subject.explore(never);
    expect(subject.report()?.provider).toBe('cpu');
    expect(subject.report()?.attempts).toContainEqual({
      provider: 'cuda',
      threads: 1,
      outcome: 'failed',
      medianMs: null,
      reason: 'off by 0.4',
    });
  });

  it('tries other providers if the CPU fails', async () => {
    const machine = new Machine({ cpu: { type: 'crashed', reason: 'signal SIGSEGV' }, webgpu: right(50) });
    expect(await ladder(machine).first(never)).toEqual({ provider: 'webgpu', threads: 2 });
  });

  it('distinguishes a wrong model from a machine without providers', async () => {
    const wrong = ladder(new Machine({ cpu: { type: 'wrong', reason: 'off by 1' } }));
    await expect(wrong.first(never)).rejects.toMatchObject({ code: 'model_golden_mismatch' });
    const broken = ladder(new Machine({ cpu: { type: 'hung', reason: 'no result within 60 s' } }));
    await expect(broken.first(never)).rejects.toMatchObject({
      code: 'vision_start_failed',
      message: expect.stringContaining('cpu: no result within 60 s') as string,
    });
    const absent = ladder(
      new Machine({ cuda: { type: 'unavailable', reason: 'no library' } }),
      new MemoryKeyValue(),
      {
        inference: { providers: ['cuda', 'nnapi'] },
      },
    );
    await expect(absent.first(never)).rejects.toMatchObject({
      code: 'provider_unavailable',
      message: expect.stringMatching(/cuda: no library.*nnapi/) as string,
    });
  });

  it('follows a configured list, and tries nothing after the current provider', async () => {
    const only = new Machine(FAST_GPU);
    const forced = ladder(only, new MemoryKeyValue(), { inference: { providers: ['webgpu'] } });
    expect((await forced.first(never)).provider).toBe('webgpu');
    expect(await forced.explore(never)).toBeNull();
    expect(only.made.every((trial) => trial.startsWith('webgpu'))).toBe(true);

    const cpuFirst = new Machine(FAST_GPU);
    const preferred = ladder(cpuFirst, new MemoryKeyValue(), {
      inference: { providers: ['cpu', 'cuda'], threads: 1 },
    });
    await preferred.first(never);
    expect(await preferred.explore(never)).toBeNull();
    expect(cpuFirst.made).not.toContain('cuda/1');

    const fallback = ladder(new Machine(FAST_GPU), new MemoryKeyValue(), {
      inference: { providers: ['webgpu', 'cpu'] },
    });
    expect((await fallback.first(never)).provider).toBe('cpu');
    expect((await fallback.explore(never))?.provider).toBe('webgpu');
  });

  it('rejects a model that requires other hardware or a missing provider', async () => {
    const board = ladder(new Machine(FAST_GPU), new MemoryKeyValue(), {
      bundle: bundle({ hardware: ['jetson'] }),
    });
    await expect(board.first(never)).rejects.toMatchObject({ code: 'model_requires' });
    const machine = new Machine(FAST_GPU);
    const provider = ladder(machine, new MemoryKeyValue(), { bundle: bundle({ providers: ['coreml'] }) });
    await expect(provider.first(never)).rejects.toMatchObject({ code: 'provider_unavailable' });
    expect(machine.made).not.toContain('cpu/2');
  });

  it('demotes a provider that fails, and tries it again after the demotion expires', async () => {
    const memory = new MemoryKeyValue();
    const clock = new FakeClock(Date.UTC(2026, 0, 1));
    const machine = new Machine(FAST_GPU);
    const subject = ladder(machine, memory, { clock });
    await subject.first(never);
    const best = await subject.explore(never);
    expect(subject.demote(best ?? { provider: '', threads: 0 }, 'crashed three times')).toEqual({
      provider: 'cpu',
      threads: 1,
    });
    expect(subject.report()?.attempts).toContainEqual(
      expect.objectContaining({
        provider: 'cuda',
        outcome: 'failed',
        reason: 'demoted: crashed three times',
      }),
    );

    clock.pass(DAY_MS / 2);
    const restarted = ladder(machine, memory, { clock });
    expect((await restarted.first(never)).provider).toBe('cpu');
    expect(await restarted.explore(never)).toBeNull();

    clock.pass(DAY_MS);
    expect(await restarted.explore(never)).toEqual({ provider: 'cuda', threads: 1 });
    // The second demotion takes twice as long.
    restarted.demote({ provider: 'cuda', threads: 1 }, 'again');
    clock.pass(1.5 * DAY_MS);
    expect(await restarted.explore(never)).toBeNull();
    clock.pass(DAY_MS);
    expect((await restarted.explore(never))?.provider).toBe('cuda');
  });

  it('tries a failed provider again after a week if the reason may have passed', async () => {
    const memory = new MemoryKeyValue();
    const clock = new FakeClock(Date.UTC(2026, 0, 1));
    const machine = new Machine({ cpu: right(20), cuda: { type: 'unavailable', reason: 'no driver yet' } });
    const subject = ladder(machine, memory, { clock });
    await subject.first(never);
    expect((await subject.explore(never))?.provider).toBe('cpu');
    machine.outcomes = { ...machine.outcomes, cuda: right(2) };
    clock.pass(6 * DAY_MS);
    expect(await subject.explore(never)).toBeNull();
    clock.pass(2 * DAY_MS);
    const restarted = ladder(machine, memory, { clock });
    expect((await restarted.first(never)).provider).toBe('cpu');
    expect((await restarted.explore(never))?.provider).toBe('cuda');
    const trials = machine.made.length;
    clock.pass(30 * DAY_MS);
    expect(await restarted.explore(never)).toBeNull();
    expect(machine.made.length).toBe(trials);
  });

  it('keeps the last provider, and ignores a demotion of a provider that is not in use', async () => {
    const subject = ladder(new Machine({ cpu: right(10) }));
    await subject.first(never);
    await subject.explore(never);
    expect(subject.demote({ provider: 'cpu', threads: 1 }, 'crashed')).toBeNull();
    expect(subject.demote({ provider: 'cuda', threads: 1 }, 'late')).toEqual(
      expect.objectContaining({ provider: 'cpu' }),
    );
    expect(subject.report()?.provider).toBe('cpu');
  });

  it('keeps a demotion when it explores again', async () => {
    const machine = new Machine(FAST_GPU);
    const subject = ladder(machine);
    await subject.first(never);
    await subject.explore(never);
    subject.demote({ provider: 'cuda', threads: 1 }, 'hung');
    expect(subject.report()?.provider).toBe('cpu');
    expect(await subject.explore(never)).toBeNull();
  });

  it('shares one exploration between overlapping calls, and stops with the signal', async () => {
    const machine = new Machine(FAST_GPU);
    const subject = ladder(machine);
    await subject.first(never);
    const [one, two] = await Promise.all([subject.explore(never), subject.explore(never)]);
    expect(one).toBe(two);
    // One for the start, then each CPU thread count twice and each other provider once.
    expect(machine.made).toHaveLength(1 + 2 * 3 + 2);

    const stopped = ladder(new Machine(FAST_GPU));
    await stopped.first(never);
    await expect(stopped.explore(AbortSignal.abort())).rejects.toThrow();
    expect(stopped.report()?.provider).toBe('cpu');
  });
});
