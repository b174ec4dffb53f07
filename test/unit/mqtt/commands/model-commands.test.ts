import { afterEach, describe, expect, it } from 'vitest';
import { AgentError } from '../../../../src/base/errors.ts';
import type { CommandsOptions } from '../../../../src/mqtt/commands/commands.ts';
import { updateIdOf } from '../../../../src/contract/model.ts';
import type { ModelInstallResult } from '../../../../src/contract/model.ts';
import { CommandBench, settle, SteppedClock } from '../../../fixtures/commands.ts';
import { contractFault } from '../../../fixtures/contract.ts';

const MODEL = { name: 'gauge', version: '1.1.0' };
const REPOSITORY = { ...MODEL, source: { kind: 'repository' } };
const SERVES: ModelInstallResult = {
  update_id: updateIdOf('i'),
  phase: 'probation',
  model: { ...MODEL, digest: 'sha256:1' },
  shadow: null,
};
const never = (): Promise<never> => new Promise(() => undefined);

describe('the commands of models', () => {
  const open: CommandBench[] = [];
  afterEach(() => {
    for (const bench of open.splice(0)) {
      const faults = bench.link.sent.map(({ topic, payload }) =>
        contractFault(bench.topics.absolute(topic), Buffer.from(payload)),
      );
      bench.close();
      expect(faults.filter(Boolean)).toEqual([]);
    }
  });
  const bench = (options: CommandsOptions = {}): CommandBench => {
    const made = new CommandBench(new SteppedClock(), options);
    open.push(made);
    return made;
  };
  const brief = (one: CommandBench): string[] =>
    one
      .replies()
      .map(({ id, status, reason, duplicate, error }) =>
        [id, status, reason ?? error?.code, duplicate === true ? 'again' : null].filter(Boolean).join(' '),
      );

  it('an install is answered when the model serves, under an id that its command gives', async () => {
    const one = bench();
    one.agent.serves = () => Promise.resolve(SERVES);
    one.send('model.install', { id: 'i', args: REPOSITORY });
    await settle();
    expect(one.agent.installs).toEqual([[REPOSITORY, { updateId: updateIdOf('i'), commandId: 'i' }]]);
    expect(one.replies()).toMatchObject([
      { id: 'i', status: 'accepted' },
      { id: 'i', status: 'succeeded', result: SERVES },
    ]);
    expect(updateIdOf('i')).toMatch(/^[0-9a-f]{8}-[0-9a-f]{4}-8[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/);
    expect(updateIdOf('j')).not.toBe(updateIdOf('i'));
  });

  it('an install holds up nothing, and is ended while everything else is stuck', async () => {
    const one = bench({ concurrency: 2, queueLimit: 2 });
    one.agent.serves = never;
    one.agent.captured = never;
    one.send('model.install', { id: 'i', args: REPOSITORY });
    for (const id of ['a', 'b', 'c', 'd', 'e']) one.send('capture', { id, args: { camera: 'north' } });
    one.send('model.abort', { id: 'stop' });
    one.send('model.rollback', { id: 'back' });
    await settle();
    const said = brief(one);
    // Two run, two wait.
    expect(said).toContain('e rejected busy');
    expect(said).not.toContain('d rejected busy');
    expect(said).toContain('stop succeeded');
    expect(said).toContain('back succeeded');
  });

  it('an install that was asked for again is run once; what refuses it at once is its answer', async () => {
    const one = bench();
    one.agent.serves = never;
    one.send('model.install', { id: 'i', args: REPOSITORY });
    one.send('model.install', { id: 'i', args: REPOSITORY });
    await settle();
    expect(one.agent.installs).toHaveLength(1);
    one.agent.installModel = () => {
      throw new AgentError('model_install_busy', 'gauge 1.1.0 is being installed');
    };
    one.send('model.install', { id: 'k', args: REPOSITORY });
    await settle();
    expect(brief(one)).toContain('k failed model_install_busy');
  });

  it('one that takes too long is aborted, so that it cannot come into force afterwards', async () => {
    const one = bench({ timeoutMs: { 'model.install': 30 } });
    one.agent.serves = never;
    let aborted = 0;
    one.agent.abortInstall = () => {
      aborted += 1;
      return Promise.resolve({ aborted: true as const });
    };
    one.send('model.install', { id: 'i', args: REPOSITORY });
    await expect.poll(() => brief(one)).toContain('i failed command_timeout');
    expect(aborted).toBe(1);
  });

  it('the end of the agent aborts no install, and the next run gives the answer', async () => {
    const one = bench();
    one.agent.serves = never;
    let aborted = 0;
    one.agent.abortInstall = () => {
      aborted += 1;
      return Promise.resolve({ aborted: true as const });
    };
    one.send('model.install', { id: 'i', args: REPOSITORY }, { correlationData: Buffer.from('x') });
    await settle();
    one.restart();
    expect(aborted).toBe(0);
    let serve: (result: ModelInstallResult) => void = () => undefined;
    const running = new Promise<ModelInstallResult>((resolve) => (serve = resolve));
    const resumed = {
      id: 'i',
      name: 'model.install',
      receivedAtMs: Date.UTC(2026, 5, 1) - 60_000,
      running,
    } as const;
    one.commands.resume(resumed);
    // Whoever asks meanwhile is told that it is under way, and of its end.
    one.send(
      'model.install',
      { id: 'i', args: REPOSITORY },
      { responseTopic: one.topics.absolute('cmdres/me') },
    );
    serve(SERVES);
    await settle();
    expect(one.replies().slice(1)).toMatchObject([
      { topic: 'cmdres/me', status: 'accepted', duplicate: true },
      { topic: 'cmdres/model.install', id: 'i', status: 'succeeded', result: SERVES, correlation: null },
      { topic: 'cmdres/me', status: 'succeeded', duplicate: true },
    ]);
    expect(JSON.parse(one.store.commands.find('i')?.result ?? '{}')).toMatchObject({ duration_ms: 60_000 });
    // What has its answer is not answered once more.
    const before = one.replies().length;
    one.commands.resume({ ...resumed, running: Promise.resolve(SERVES) });
    await settle();
    expect(one.replies()).toHaveLength(before);
  });

  it.each([
    ['a path', { ...REPOSITORY, name: '../gauge' }],
    ['a name with a slash', { ...REPOSITORY, name: 'a/b' }],
    ['no version', { ...REPOSITORY, version: 'latest' }],
    ['a path for a version', { ...REPOSITORY, version: '1.0.0/../../x' }],
    ['a version with a line break', { ...REPOSITORY, version: '1.0.0\n' }],
    ['a URL', { ...MODEL, source: { kind: 'repository', url: 'http://stranger' } }],
    ['no source', MODEL],
    ['another source', { ...MODEL, source: { kind: 'http' } }],
    ['no bytes', { ...MODEL, source: { kind: 'mqtt', size_bytes: 0, digest: `sha256:${'0'.repeat(64)}` } }],
    ['no digest', { ...MODEL, source: { kind: 'mqtt', size_bytes: 1, digest: 'md5:0' } }],
    ['a wrong digest', { ...REPOSITORY, digest: 'sha256:00' }],
  ])('%s is refused', async (_what, args) => {
    const one = bench();
    one.send('model.install', { id: 'i', args });
    await settle();
    expect(one.replies()).toMatchObject([{ status: 'rejected' }]);
    expect(one.replies()[0]?.reason).toContain('bad_args');
    expect(one.agent.installs).toEqual([]);
  });
});
