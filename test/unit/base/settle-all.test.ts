import { expect, it } from 'vitest';
import { asAgentError, AgentError } from '../../../src/base/errors.ts';
import { settleAll } from '../../../src/base/settle-all.ts';

const failsWith = async (error: Error): Promise<never> => {
  await Promise.resolve();
  throw error;
};

it('waits for every work, and rejects with the first failure', async () => {
  const slow = Promise.withResolvers<undefined>();
  let isClosed = false;
  const works = [
    failsWith(new AgentError('mqtt_timeout', 'no answer', { context: { broker: 'a' } })),
    slow.promise.then(() => (isClosed = true)),
    failsWith(new Error('busy')),
    failsWith(new Error('gone')),
  ];
  setTimeout(() => slow.resolve(undefined), 20);
  const thrown: unknown = await settleAll(works).catch((failure: unknown) => failure);
  expect(isClosed).toBe(true);
  expect(asAgentError(thrown)).toMatchObject({
    code: 'mqtt_timeout',
    message: 'no answer',
    context: { broker: 'a', cleanup: ['busy', 'gone'] },
  });
});

it('a failed clean-up of a scope does not replace the failure before it', async () => {
  const start = async (): Promise<void> => {
    await using resources = new AsyncDisposableStack();
    resources.defer(() => failsWith(new Error('first resource')));
    resources.defer(() => failsWith(new Error('second resource')));
    throw new AgentError('store_locked', 'another agent uses it');
  };
  const thrown: unknown = await start().catch((failure: unknown) => failure);
  expect(asAgentError(thrown)).toMatchObject({
    code: 'store_locked',
    message: 'another agent uses it',
    context: { cleanup: ['second resource', 'first resource'] },
  });
});
