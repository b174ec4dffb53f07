import { describe, expect, it } from 'vitest';
import { PendingReplies, type ReplyingCommands } from '../../../../src/model/install/pending-replies.ts';
import type { InstallRecord } from '../../../../src/model/types.ts';
import { silentLog } from '../../../fixtures/store.ts';

type Resumed = Parameters<ReplyingCommands['resume']>[0];

const install = (phase: InstallRecord['phase'], updateId = 'u1'): InstallRecord =>
  ({
    updateId,
    phase,
    name: 'swell',
    version: '2.0.0',
    digest: null,
    candidate: null,
    shadow: null,
    startedAtMs: 1000,
    reason: phase === 'failed' ? { code: 'model_unsigned', message: 'not signed' } : null,
  }) as unknown as InstallRecord;

function replies(stored: Record<string, string> = {}) {
  const memory = new Map(Object.entries(stored));
  const current: { install: InstallRecord | null } = { install: null };
  const resumed: Resumed[] = [];
  const pending = new PendingReplies({
    memory: {
      get: (key) => memory.get(key) ?? null,
      set: (key, value) => void memory.set(key, value),
      delete: (key) => void memory.delete(key),
    },
    log: silentLog,
    install: () => current.install,
  });
  const commands: ReplyingCommands = { resume: (command) => void resumed.push(command) };
  return { pending, memory, current, resumed, commands };
}

const nextTurn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

describe('PendingReplies', () => {
  it('forgets a command that was answered', async () => {
    const { pending, memory, current } = replies();
    pending.add('u1', 'command-1');
    expect([...memory]).toEqual([['model.install.u1', 'command-1']]);
    current.install = install('probation');
    pending.remove('u1');
    await nextTurn();
    expect(memory.size).toBe(0);
  });

  it('keeps a command whose install still runs: the agent is stopping, and the next run replies', async () => {
    const { pending, memory, current } = replies();
    pending.add('u1', 'command-1');
    current.install = install('shadow');
    pending.remove('u1');
    await nextTurn();
    expect(memory.size).toBe(1);
  });

  it('replies to the command of an earlier run when its model runs', async () => {
    const { pending, memory, current, resumed, commands } = replies({ 'model.install.u1': 'command-1' });
    current.install = install('testing');
    pending.resume(commands);
    expect(resumed).toMatchObject([{ id: 'command-1', name: 'model.install', receivedAtMs: 1000 }]);
    pending.answer();
    current.install = install('probation');
    pending.answer();
    await expect(resumed[0]?.running).resolves.toMatchObject({ update_id: 'u1', phase: 'probation' });
    await nextTurn();
    expect(memory.size).toBe(0);
  });

  it('fails the command of an earlier run with the reason of the failed install', async () => {
    const { pending, current, resumed, commands } = replies({ 'model.install.u1': 'command-1' });
    current.install = install('failed');
    pending.resume(commands);
    await expect(resumed[0]?.running).rejects.toMatchObject({
      code: 'model_unsigned',
      message: 'not signed',
    });
  });

  it('fails the command of an earlier run when another install replaced its own', async () => {
    const { pending, current, resumed, commands } = replies({ 'model.install.u1': 'command-1' });
    current.install = install('downloading');
    pending.resume(commands);
    current.install = install('downloading', 'u2');
    pending.answer();
    await expect(resumed[0]?.running).rejects.toMatchObject({ code: 'command_interrupted' });
  });

  it('resumes nothing without an unanswered command', () => {
    const { pending, current, resumed, commands } = replies();
    current.install = install('committed');
    pending.resume(commands);
    expect(resumed).toEqual([]);
  });
});
