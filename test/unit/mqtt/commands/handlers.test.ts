import { describe, expect, it } from 'vitest';
import { AgentError } from '../../../../src/base/errors.ts';
import { updateIdOf } from '../../../../src/contract/model.ts';
import type { ModelInstallResult } from '../../../../src/contract/model.ts';
import { settle, useCommandBenches } from '../../../fixtures/commands.ts';

const MODEL = { name: 'gauge', version: '1.1.0' };
const REPOSITORY = { ...MODEL, source: { kind: 'repository' } };
const SERVES: ModelInstallResult = {
  update_id: updateIdOf('i'),
  phase: 'probation',
  model: { ...MODEL, digest: 'sha256:1' },
  shadow: null,
};
const never = (): Promise<never> => new Promise(() => undefined);

describe('handlers of model commands', () => {
  const openBench = useCommandBenches();

  it('answers an install when the model serves, with an update id derived from the command id', async () => {
    const bench = openBench();
    bench.agent.serves = () => Promise.resolve(SERVES);
    bench.send('model.install', { id: 'i', args: REPOSITORY });
    await settle();
    expect(bench.agent.installs).toEqual([[REPOSITORY, { updateId: updateIdOf('i'), commandId: 'i' }]]);
    expect(bench.replies()).toMatchObject([
      { id: 'i', status: 'accepted' },
      { id: 'i', status: 'succeeded', result: SERVES },
    ]);
    expect(updateIdOf('i')).toMatch(/^[0-9a-f]{8}-[0-9a-f]{4}-8[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/);
    expect(updateIdOf('j')).not.toBe(updateIdOf('i'));
  });

  it('does not queue an install, an abort or a rollback', async () => {
    const bench = openBench({ concurrency: 2, queueLimit: 2 });
    bench.agent.serves = never;
    bench.agent.captured = never;
    bench.send('model.install', { id: 'i', args: REPOSITORY });
    for (const id of ['a', 'b', 'c', 'd', 'e']) bench.send('capture', { id, args: { camera: 'north' } });
    bench.send('model.abort', { id: 'stop' });
    bench.send('model.rollback', { id: 'back' });
    await settle();
    const answers = bench.summaries();
    // Two captures run and two wait.
    expect(answers).toContain('e rejected busy');
    expect(answers).not.toContain('d rejected busy');
    expect(answers).toContain('stop succeeded');
    expect(answers).toContain('back succeeded');
  });

  it('runs a repeated install once, and answers with the error of a refused install', async () => {
    const bench = openBench();
    bench.agent.serves = never;
    bench.send('model.install', { id: 'i', args: REPOSITORY });
    bench.send('model.install', { id: 'i', args: REPOSITORY });
    await settle();
    expect(bench.agent.installs).toHaveLength(1);
    bench.agent.installModel = () => {
      throw new AgentError('model_install_busy', 'gauge 1.1.0 is being installed');
    };
    bench.send('model.install', { id: 'k', args: REPOSITORY });
    await settle();
    expect(bench.summaries()).toContain('k failed model_install_busy');
  });

  it('aborts an install at its timeout, so that it cannot succeed later', async () => {
    const bench = openBench({ timeoutMs: { 'model.install': 30 } });
    bench.agent.serves = never;
    let aborted = 0;
    bench.agent.abortInstall = () => {
      aborted += 1;
      return Promise.resolve({ aborted: true as const });
    };
    bench.send('model.install', { id: 'i', args: REPOSITORY });
    await expect.poll(() => bench.summaries()).toContain('i failed command_timeout');
    expect(aborted).toBe(1);
  });

  it('does not abort an install when the agent stops; the next run answers it', async () => {
    const bench = openBench();
    bench.agent.serves = never;
    let aborted = 0;
    bench.agent.abortInstall = () => {
      aborted += 1;
      return Promise.resolve({ aborted: true as const });
    };
    bench.send('model.install', { id: 'i', args: REPOSITORY }, { correlationData: Buffer.from('x') });
    await settle();
    await bench.restart();
    expect(aborted).toBe(0);
    let serve: (result: ModelInstallResult) => void = () => undefined;
    const running = new Promise<ModelInstallResult>((resolve) => (serve = resolve));
    const resumed = {
      id: 'i',
      name: 'model.install',
      receivedAtMs: Date.UTC(2026, 5, 1) - 60_000,
      running,
    } as const;
    bench.commands.resume(resumed);
    // A requester that repeats the command during the install gets the receipt and the result.
    bench.send(
      'model.install',
      { id: 'i', args: REPOSITORY },
      { responseTopic: bench.topics.absolute('cmdres/other') },
    );
    serve(SERVES);
    await settle();
    expect(bench.replies().slice(1)).toMatchObject([
      { topic: 'cmdres/other', status: 'accepted', duplicate: true },
      { topic: 'cmdres/model.install', id: 'i', status: 'succeeded', result: SERVES, correlation: null },
      { topic: 'cmdres/other', status: 'succeeded', duplicate: true },
    ]);
    expect(JSON.parse(bench.store.commands.find('i')?.result ?? '{}')).toMatchObject({ duration_ms: 60_000 });
    // An answered command is not answered again.
    const before = bench.replies().length;
    bench.commands.resume({ ...resumed, running: Promise.resolve(SERVES) });
    await settle();
    expect(bench.replies()).toHaveLength(before);
  });

  it.each([
    ['a path as name', { ...REPOSITORY, name: '../gauge' }],
    ['a name with a slash', { ...REPOSITORY, name: 'a/b' }],
    ['a version that is not semver', { ...REPOSITORY, version: 'latest' }],
    ['a path in the version', { ...REPOSITORY, version: '1.0.0/../../x' }],
    ['a version with a line break', { ...REPOSITORY, version: '1.0.0\n' }],
    ['a URL as source', { ...MODEL, source: { kind: 'repository', url: 'http://stranger' } }],
    ['no source', MODEL],
    ['an unknown source', { ...MODEL, source: { kind: 'http' } }],
    [
      'a size of 0',
      { ...MODEL, source: { kind: 'mqtt', size_bytes: 0, digest: `sha256:${'0'.repeat(64)}` } },
    ],
    ['an unknown digest algorithm', { ...MODEL, source: { kind: 'mqtt', size_bytes: 1, digest: 'md5:0' } }],
    ['an invalid digest', { ...REPOSITORY, digest: 'sha256:00' }],
  ])('rejects an install with %s', async (_case, args) => {
    const bench = openBench();
    bench.send('model.install', { id: 'i', args });
    await settle();
    expect(bench.replies()).toMatchObject([{ status: 'rejected' }]);
    expect(bench.replies()[0]?.reason).toContain('bad_args');
    expect(bench.agent.installs).toEqual([]);
  });
});

describe('handlers of agent commands', () => {
  const openBench = useCommandBenches();
  const ARGS = { version: '1.3.0', source: { kind: 'repository' } };

  it('answer an update when the version is confirmed, with an update id derived from the command id', async () => {
    const bench = openBench();
    const result = { update_id: updateIdOf('u'), version: '1.3.0', digest: null };
    bench.agent.ends = () => Promise.resolve(result);
    bench.send('agent.install', { id: 'u', args: ARGS });
    await settle();
    expect(bench.agent.updates).toEqual([[ARGS, { updateId: updateIdOf('u'), commandId: 'u' }]]);
    expect(bench.replies()).toMatchObject([
      { id: 'u', status: 'accepted' },
      { id: 'u', status: 'succeeded', result },
    ]);
  });

  it('do not answer an update when the agent stops, so that its next process can', async () => {
    const bench = openBench();
    bench.agent.ends = never;
    bench.send('agent.install', { id: 'u', args: ARGS });
    bench.send('agent.rollback', { id: 'v' });
    await settle();
    await bench.restart();
    expect(bench.summaries()).toEqual(['u accepted', 'v accepted']);
    const result = { update_id: updateIdOf('u'), version: '1.3.0', digest: null };
    bench.commands.resume({
      id: 'u',
      name: 'agent.install',
      receivedAtMs: bench.clock.nowMs(),
      running: Promise.resolve(result),
    });
    await settle();
    expect(bench.replies().at(-1)).toMatchObject({
      topic: 'cmdres/agent.install',
      id: 'u',
      status: 'succeeded',
      result,
    });
  });

  it('list the versions, and refuse a version that is none', async () => {
    const bench = openBench();
    bench.send('agent.list', { id: 'l' });
    bench.send('agent.install', { id: 'b', args: { ...ARGS, version: '../x' } });
    await settle();
    const [, listed] = bench.replies().filter(({ id }) => id === 'l');
    expect(listed).toMatchObject({ status: 'succeeded', result: { running: { version: '1.2.0' } } });
    expect(bench.summaries().find((text) => text.startsWith('b'))).toMatch(/^b rejected bad_args/);
  });
});
